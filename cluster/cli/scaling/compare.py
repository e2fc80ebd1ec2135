"""`voxray compare`: compares the scaling policy with Ray Serve's default at many targets and over many days."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autoscaling.simulator.comparison import Comparison, Mean

TRACES = "daily,flash-crowd,opening-hours"
TARGETS = "0.7,0.75,0.8,0.85,0.9,0.95"


def compare(  # noqa: PLR0917 - one argument per command-line option
    traces: Annotated[str, typer.Option(help="Names of generated traces, separated by commas.")] = TRACES,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Number of days per trace, with seeds from 1.")] = 10,
    peak: Annotated[int, typer.Option(min=1, max=200_000, help="Concurrent calls at the busiest time.")] = 3000,
    hours: Annotated[float, typer.Option(min=0.1, max=168, help="Length of a day.")] = 24,
    slo: Annotated[str, typer.Option(help="Latency target that replicas are planned for.")] = "800ms",
    devices: Annotated[str, typer.Option(help="Devices of the plan, separated by commas.")] = "l40s",
    targets: Annotated[
        str, typer.Option(help="Ray's targets as shares of a replica's calls, separated by commas.")
    ] = TARGETS,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Number of days simulated in parallel.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Folder for comparison.json and the plot.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare with Ray's default at every target: misses at equal cost and cost at equal misses, with intervals.

    Ends with exit code 1 if the policy is not better on some trace.
    """
    from autoscaling.simulator.comparison import DayRequest
    from cluster.cli.scaling.simulate import numbers, planned_scenario

    scenario = planned_scenario(peak, slo, devices)
    asked = tuple(sorted(numbers(targets)))
    if len(asked) < 2:
        raise typer.BadParameter("a frontier needs at least two of Ray's targets", param_hint="--targets")
    requests = [
        DayRequest(name, seed, peak, hours, scenario, asked) for name in _traces(traces) for seed in range(1, seeds + 1)
    ]
    comparisons = _simulated(requests, processes)
    report = [_report(comparison) for comparison in comparisons]
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(comparisons, Console())
    if out is not None:
        _write(report, out)
    raise typer.Exit(0 if all(comparison.is_below for comparison in comparisons) else 1)


def _traces(text: str) -> list[str]:
    from autoscaling.simulator.traces import GENERATORS

    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in GENERATORS:
            raise typer.BadParameter(f"'{name}' is not one of {', '.join(GENERATORS)}", param_hint="--traces")
    return names


def _simulated(requests: Sequence[Any], processes: int) -> list[Comparison]:
    from autoscaling.simulator.comparison import Day
    from autoscaling.simulator.comparison import compare as compare_days

    columns = (TextColumn("days"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("days", total=len(requests))

        def count(_: Day) -> None:
            progress.advance(task)

        return compare_days(requests, count, processes)


def _report(comparison: Comparison) -> dict[str, Any]:
    return {
        "trace": comparison.trace,
        "is_below_rays_frontier": comparison.is_below,
        "misses_saved": asdict(comparison.mean(lambda day: day.misses_saved)),
        "cost_saved": asdict(comparison.mean(lambda day: day.cost_saved)),
        "days": [
            {**asdict(day), "misses_saved": day.misses_saved, "cost_saved": day.cost_saved, "is_below": day.is_below}
            for day in comparison.days
        ],
    }


def _print(comparisons: Sequence[Comparison], console: Console) -> None:
    table = Table(box=rich.box.SIMPLE_HEAD)
    for title in ("trace", "policy", "missed", "most on a day", "x oracle", "dearest day"):
        table.add_column(title, justify="left" if title in ("trace", "policy") else "right")
    for comparison in comparisons:
        days = comparison.days
        series = [("calls", [day.ours for day in days])]
        for index, (share, _) in enumerate(days[0].rays):
            series.append((f"ray at {share:.0%}", [day.rays[index][1] for day in days]))
        series.append(("ray as it comes (2)", [day.as_it_comes for day in days]))
        for row, (policy, points) in enumerate(series):
            missed, costs = [point.missed for point in points], [point.cost for point in points]
            table.add_row(
                comparison.trace if row == 0 else "", policy, f"{sum(missed) / len(missed):.3%}", f"{max(missed):.3%}",
                f"{sum(costs) / len(costs):.3f}", f"{max(costs):.3f}",
            )  # fmt: skip
    console.print(table)
    for comparison in comparisons:
        below = sum(day.is_below for day in comparison.days)
        verdict = "better" if comparison.is_below else "NOT better"
        console.print(
            f"{comparison.trace}: at our cost Ray misses {_points(comparison.mean(lambda d: d.misses_saved))} more of "
            f"the calls; with as few misses it costs {_oracles(comparison.mean(lambda d: d.cost_saved))} oracles more; "
            f"{below} of {len(comparison.days)} days below its frontier: {verdict}",
            highlight=False,
            soft_wrap=True,
        )


def _points(mean: Mean) -> str:
    return f"{mean.value * 100:.2f} ± {mean.half * 100:.2f} points"


def _oracles(mean: Mean) -> str:
    return f"{mean.value:.3f} ± {mean.half:.3f}"


def _write(report: Sequence[dict[str, Any]], out: Path) -> None:
    from autoscaling.simulator.plots import PlotsMissing, plot_comparison

    out.mkdir(parents=True, exist_ok=True)
    (out / "comparison.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    try:
        plot_comparison(report, out / "comparison.png")
    except PlotsMissing as error:
        typer.echo(f"voxray: {error}", err=True)
    typer.echo(f"written to {out}")
