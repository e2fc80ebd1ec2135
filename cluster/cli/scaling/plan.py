"""`voxray plan`: plans machines, packing and cost for a number of calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import typer
import yaml
from rich.console import Console
from rich.table import Table

from autoscaling.machines import MACHINES_FILE, Isolation
from autoscaling.planning import HEADROOM
from cluster.cli.scaling.profile import stage_models
from cluster.config.pools import DEFAULT_POOL
from cluster.config.schema import VoxrayConfig
from pipelines.errors import ConfigError

if TYPE_CHECKING:
    from autoscaling.planning import Plan, PlanRequest, StagePlan

# A plan needs no services, but the profile requires their addresses all the same.
_ANY_ADDRESS = {
    "VOXRAY__SERVICES__REDIS__URL": "rediss://redis.invalid:6379/0",
    "VOXRAY__SERVICES__MILVUS__URI": "https://milvus.invalid:19530",
    "VOXRAY__SERVICES__SQL__URL": "postgresql://sql.invalid/voxray",
    "VOXRAY__SERVICES__OBJECTS__URL": "s3://invalid/objects",
}
DeviceOption = Annotated[
    str,
    typer.Option(help="Devices that may be used, separated by commas: l4,l40s. CPU machines always may. Default: all."),
]


def plan(  # noqa: PLR0917 - one argument per command-line option
    calls: Annotated[int, typer.Option(min=1, help="Number of concurrent calls.")] = 500,
    slo: Annotated[str, typer.Option(help="Voice-to-voice p95 including the end-of-turn wait: 500ms or 0.8s.")] = (
        "800ms"
    ),
    headroom: Annotated[
        float, typer.Option(min=0, max=5, help="Share of the calls that is kept free as a reserve.")
    ] = HEADROOM,
    devices: DeviceOption = "",
    isolation: Annotated[Isolation, typer.Option(help="How GPUs are shared where that is possible.")] = (
        Isolation.TIME_SLICE
    ),
    machines: Annotated[Path, typer.Option(help="Catalog of machines and prices (JSON).")] = MACHINES_FILE,
    profiles: Annotated[Path | None, typer.Option(help="Folder of your own engine profiles.")] = None,
    write: Annotated[Path | None, typer.Option(help="Write the settings of the plan (YAML) here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    profile: Annotated[str, typer.Option(help="Profile whose engines are planned.")] = "nvidia",
    file: Annotated[Path | None, typer.Option("--file", help="Settings file.")] = None,
) -> None:
    """Plan machines for a number of calls within a latency target, and print packing, cost and assumptions."""
    from autoscaling.engine_profile import ProfileError, load_profiles
    from autoscaling.machines import load_machines
    from autoscaling.planning import NoPlan, PlanRequest, make_plan

    request = PlanRequest(
        calls, milliseconds(slo), engines_of(planned_config(profile, file)), headroom=headroom, isolation=isolation
    )
    try:
        catalog = load_machines(machines)
        found = make_plan(request, load_profiles(*([profiles] if profiles else [])), only_devices(catalog, devices))
    except (NoPlan, ProfileError) as error:
        raise ConfigError(str(error)) from error
    if write is not None:
        write.write_text(yaml.safe_dump(settings_of(found), sort_keys=False), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report(found), indent=2))
        return
    _print(found, catalog.source, Console())
    if write is not None:
        typer.echo(f"settings written to {write}")


def planned_config(profile: str, file: Path | None) -> VoxrayConfig:
    """Return the configuration to plan for, in which addresses of services may be missing."""
    from cluster.config.environment import process_environment
    from cluster.config.loading import load_config

    production = _ANY_ADDRESS if profile in ("nvidia", "inferentia") else {}
    return load_config(profile, file, {**production, **process_environment()})


def engines_of(config: VoxrayConfig) -> dict[str, str]:
    """Return the model of each stage. The gateway's own work counts as a stage."""
    return {"gateway": "gateway", **stage_models(config)}


def milliseconds(text: str) -> float:
    """Parse a time as an operator writes it, and return it in ms."""
    for suffix, factor in (("ms", 1.0), ("s", 1000.0)):
        number = text.strip().removesuffix(suffix)
        if text.strip().endswith(suffix):
            try:
                if (value := float(number) * factor) > 0:
                    return value
            except ValueError:
                break
    raise typer.BadParameter(f"'{text}' is not a time; write 500ms or 0.8s")


def settings_of(found: Plan) -> dict[str, Any]:
    """Return the plan as settings that override those of a settings file."""
    sections: dict[str, Any] = {"scaling": {"gpu_isolation": str(found.request.isolation)}}
    for stage in found.stages:
        if stage.stage == "gateway":
            sections["gateway"] = _section(stage)
        else:
            sections.setdefault("pools", {})[stage.stage] = {DEFAULT_POOL: _section(stage)}
    return sections


def _section(stage: StagePlan) -> dict[str, Any]:
    option = stage.option
    replicas: dict[str, Any] = {
        "min_replicas": 1,
        "max_replicas": max(stage.replicas, 1),
        "num_cpus": option.profile.cpu_cores,
        "calls": option.calls_per_replica,
    }
    if stage.memory is None:
        return {"replicas": replicas}
    replicas["num_gpus"] = option.share
    replicas["gpu_memory_bytes"] = stage.memory.limit_bytes
    return {**stage.memory.settings, "replicas": replicas}


def only_devices(catalog: Any, devices: str) -> Any:
    """Return the catalog restricted to the devices that the operator allows."""
    from dataclasses import replace

    names = {name.strip() for name in devices.split(",") if name.strip()}
    unknown = names - catalog.devices.keys() - {"cpu"}
    if unknown:
        known = ", ".join(catalog.devices)
        raise typer.BadParameter(f"unknown device {', '.join(sorted(unknown))}; known: {known}")
    if not names:
        return catalog
    kept = tuple(machine for machine in catalog.machines if machine.device in names | {"cpu"})
    return replace(catalog, machines=kept)


def report(found: Plan) -> dict[str, Any]:
    """Return the plan as plain data."""
    return {
        "machines": dict(found.packing.machines),
        "price_per_hour": round(found.packing.price, 3),
        "price_bound_per_hour": round(found.packing.bound, 3),
        "is_exact": found.packing.is_exact,
        "cost_per_call_minute": round(found.cost_per_call_minute, 6),
        "held_calls": found.held_calls,
        "voice_to_voice_p95_ms": round(found.latency_ms, 1),
        "stages": [_stage_report(stage) for stage in found.stages],
        "slots": [
            {
                "machine": pattern.slot.machine,
                "slots": count,
                "holds": {s.stage: n for s, n in zip(found.stages, pattern.counts, strict=True) if n},
            }
            for pattern, count in found.packing.patterns
        ],
        "settings": settings_of(found),
    }


def _stage_report(stage: StagePlan) -> dict[str, Any]:
    option = stage.option
    return {
        "stage": stage.stage,
        "engine": option.profile.engine,
        "device": option.profile.device,
        "share": option.share,
        "replicas": stage.replicas,
        "calls_per_replica": option.calls_per_replica,
        "load": option.load,
        "latency_p95_ms": round(option.latency_ms, 1),
        "memory_limit_bytes": stage.memory.limit_bytes if stage.memory else None,
        "environment": dict(stage.memory.environment) if stage.memory else {},
        "source": option.profile.source,
    }


def _print(found: Plan, prices: str, console: Console) -> None:
    request, packing = found.request, found.packing
    console.print(f"\n[bold]{request.calls} calls, {request.slo_ms:.0f} ms voice to voice (p95)[/]", highlight=False)
    _print_stages(found, console)
    table = Table(box=rich.box.SIMPLE_HEAD, title="packing", title_justify="left")
    for title in ("machine", "slots", "each holds", "share used", "memory used"):
        table.add_column(title, justify="right" if title == "slots" else "left")
    for pattern, count in packing.patterns:
        holds = ", ".join(f"{n} {s.stage}" for s, n in zip(found.stages, pattern.counts, strict=True) if n)
        table.add_row(pattern.slot.machine, str(count), holds, *_use(found, pattern))
    console.print(table)
    bought = ", ".join(f"{count} x {name}" for name, count in sorted(packing.machines.items()))
    method = "every packing was tried; what is above is machines not filled" if packing.is_exact else "heuristic"
    lines = (
        f"machines    {bought}",
        f"cost        ${packing.price:.2f} an hour, ${found.cost_per_call_minute:.5f} per call-minute at full use",
        f"gap         {packing.gap:.1%} above the bound of ${packing.bound:.2f} ({method})",
        f"headroom    holds {found.held_calls} calls: {found.held_calls / request.calls - 1:.0%} above what was asked",
        f"latency     {found.latency_ms:.0f} ms of {request.slo_ms:.0f} ms (sum of the stages' p95)",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    _print_assumptions(found, request, prices, console)


def _print_stages(found: Plan, console: Console) -> None:
    table = Table(box=rich.box.SIMPLE_HEAD, title="stages", title_justify="left", pad_edge=False)
    for title in ("stage", "on", "share", "replicas", "calls", "load", "p95 ms", "memory"):
        table.add_column(title, justify="left" if title in ("stage", "on") else "right", no_wrap=True)
    for stage in found.stages:
        option, memory = stage.option, stage.memory
        limit = f"{memory.limit_bytes / 2**30:.1f} GiB{'' if memory.is_enforced else ' *'}" if memory else "-"
        share = f"{option.share:g}" if memory else f"{option.profile.cpu_cores:g} cores"
        table.add_row(
            stage.stage, option.profile.device, share, str(stage.replicas),
            str(option.calls_per_replica), f"{option.load:.0%}", f"{option.latency_ms:.0f}", limit,
        )  # fmt: skip
    console.print(table)
    if any(stage.memory and not stage.memory.is_enforced for stage in found.stages):
        console.print("* time slicing does not enforce this limit; --isolation mps does", style="dim")


def _use(found: Plan, pattern: Any) -> tuple[str, str]:
    if not pattern.slot.capacity[0]:
        return "-", "-"
    share = sum(n * s.option.share for s, n in zip(found.stages, pattern.counts, strict=True))
    memory = sum(n * s.option.profile.memory_bytes for s, n in zip(found.stages, pattern.counts, strict=True))
    return f"{share:.0%}", f"{memory / 2**30:.1f} of {pattern.slot.capacity[1] / 2**30:.1f} GiB"


def _print_assumptions(found: Plan, request: PlanRequest, prices: str, console: Console) -> None:
    console.print("\nassumed", style="bold")
    console.print(f"  a draft begins after {request.silence_ms:.0f} ms of silence; hops take {request.hops_ms:.0f} ms")
    console.print("  no replica is loaded beyond 75% of what its engine sustains; `calls` is per replica")
    console.print(f"  prices: {prices}", highlight=False, soft_wrap=True)
    sources: Mapping[str, str] = {s.option.profile.engine: s.option.profile.source for s in found.stages}
    for engine, source in sources.items():
        console.print(f"  {engine}: {source}", highlight=False, soft_wrap=True)
