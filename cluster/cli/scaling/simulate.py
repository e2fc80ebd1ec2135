"""`voxray simulate`: replays a day of calls against the scaling policy."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from autoscaling.simulator.scenario import Scenario
    from autoscaling.simulator.traces import Trace
    from autoscaling.simulator.trial import Trial

SWEPT = ("headroom", "deviations", "hold_s", "lead_s", "warm_calls", "ceiling_per_hour")


def simulate(  # noqa: PLR0917 - one argument per command-line option
    trace: Annotated[
        str, typer.Option(help="poisson, daily, flash-crowd, opening-hours; or a recorded trace (FILE.jsonl).")
    ] = "daily",
    peak: Annotated[int, typer.Option(min=1, max=200_000, help="Concurrent calls at the busiest time.")] = 3000,
    hours: Annotated[float, typer.Option(min=0.1, max=168, help="Length of a generated trace.")] = 24,
    seed: Annotated[int, typer.Option(help="Seed of the generated trace.")] = 1,
    slo: Annotated[str, typer.Option(help="Latency target that replicas are planned for.")] = "800ms",
    devices: Annotated[str, typer.Option(help="Devices of the plan, separated by commas.")] = "l40s",
    ray_targets: Annotated[
        str, typer.Option(help="Also simulate Ray's default policy at these targets, as shares of a replica's calls.")
    ] = "0.7,0.8",
    sweep: Annotated[
        list[str] | None, typer.Option(help=f"Try several values, as headroom=0,0.05. Names: {', '.join(SWEPT)}.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for simulation.json and plots.")] = None,
    save_trace: Annotated[Path | None, typer.Option(help="Write the trace as JSON Lines here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Replay calls against the policy on planned machines, and compare misses and cost with an oracle and Ray."""
    from autoscaling.simulator.traces import save_trace as write_trace

    calls = _trace(trace, peak, seed, hours)
    if save_trace is not None:
        write_trace(calls, save_trace)
    scenario = planned_scenario(peak, slo, devices)
    trials = _tried(calls, scenario, numbers(ray_targets), _sweeps(sweep or []))
    rows = [row for trial in trials for row in trial.rows()]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print(rows, trials[0], Console())
    if out is not None:
        _write(trials, rows, out)


def planned_scenario(peak: int, slo: str, devices: str) -> Scenario:
    """Return the machines and stages of a plan for `peak` calls of the profile nvidia."""
    from autoscaling.engine_profile import load_profiles
    from autoscaling.machines import load_machines
    from autoscaling.planning import NoPlan, PlanRequest, make_plan
    from autoscaling.simulator.scenario import scenario_of
    from cluster.cli.scaling.plan import engines_of, milliseconds, only_devices, planned_config

    catalog = only_devices(load_machines(), devices)
    request = PlanRequest(peak, milliseconds(slo), engines_of(planned_config("nvidia", None)))
    try:
        return scenario_of(make_plan(request, load_profiles(), catalog), catalog)
    except NoPlan as error:
        raise ConfigError(str(error)) from error


def _trace(name: str, peak: int, seed: int, hours: float) -> Trace:
    import numpy as np

    from autoscaling.simulator.traces import GENERATORS, load_trace

    if name in GENERATORS:
        return GENERATORS[name](peak, np.random.default_rng(seed), hours)
    if not Path(name).is_file():
        raise typer.BadParameter(f"'{name}' is neither a file nor one of {', '.join(GENERATORS)}")
    try:
        return load_trace(Path(name))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _tried(
    trace: Trace, scenario: Scenario, ray_targets: Sequence[float], sweeps: Sequence[dict[str, float]]
) -> list[Trial]:
    from autoscaling.simulator.trial import contenders, try_policies

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        trials = []
        for index, limits in enumerate(sweeps):
            policies = contenders(scenario, ray_targets if index == 0 else (), **limits)
            policies[0].name = "calls " + " ".join(f"{name}={value:g}" for name, value in limits.items())
            policies[0].name = policies[0].name.strip()
            tasks = {policy.name: progress.add_task(policy.name, total=1.0) for policy in policies}

            def show(name: str, share: float, tasks: dict[str, TaskID] = tasks) -> None:
                progress.update(tasks[name], completed=share)

            trials.append(try_policies(trace, scenario, policies, show))
    return trials


def numbers(text: str) -> list[float]:
    """Parse numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"'{text}' is not a list of numbers like 0.7,0.85") from None


def _sweeps(texts: Sequence[str]) -> list[dict[str, float]]:
    """Return every combination of the swept values, or one empty combination when nothing is swept."""
    axes: list[list[tuple[str, float]]] = []
    for text in texts:
        name, _, values = text.partition("=")
        if name not in SWEPT or not values:
            raise typer.BadParameter(f"'{text}': write NAME=VALUE,VALUE with a name of {', '.join(SWEPT)}")
        axes.append([(name, value) for value in numbers(values)])
    return [dict(combination) for combination in itertools.product(*axes)]


def _print(rows: Sequence[dict[str, Any]], trial: Trial, console: Console) -> None:
    first = trial.outcomes[0]
    console.print(
        f"\n{first.trace}: {first.calls:,} calls in {trial.trace.seconds / 3600:.1f} h, {first.peak_calls:,} at most; "
        f"a machine and a replica take {trial.scenario.lead_s():.0f} s to come",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(box=rich.box.SIMPLE_HEAD)
    for title in ("policy", "refused", "late", "missed", "cost $", "x oracle", "GPU h", "ordered"):
        table.add_column(title, justify="left" if title == "policy" else "right")
    for row in rows:
        table.add_row(
            str(row["policy"]), f"{row['refused_share']:.3%}", f"{row['late_share']:.3%}", f"{row['missed_share']:.3%}",
            f"{row['cost']:,.0f}", f"{row['times_oracle']:.3f}", f"{row['accelerator_hours']:,.0f}",
            str(row["ordered_machines"]),
        )  # fmt: skip
    oracle = trial.oracle
    table.add_row("oracle", "0", "0", "0", f"{oracle.cost:,.0f}", "1.000", f"{oracle.accelerator_hours:,.0f}", "-")
    console.print(table)


def _write(trials: Sequence[Trial], rows: Sequence[dict[str, Any]], out: Path) -> None:
    from autoscaling.simulator.plots import PlotsMissing, plot_frontier, plot_trial

    out.mkdir(parents=True, exist_ok=True)
    (out / "simulation.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    try:
        plot_trial(trials[0], out / "simulation.png")
        if len(rows) > 2:
            plot_frontier(rows, out / "frontier.png")
    except PlotsMissing as error:
        typer.echo(f"voxray: {error}", err=True)
    typer.echo(f"written to {out}")
