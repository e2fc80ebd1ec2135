"""`voxray up`, `down`, `restart`, `status` and `logs`."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import rich.box
import typer
from rich.console import Console
from rich.table import Table

from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.engines import spec_of
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.status import UP, ClusterStatus, look, look_elsewhere
from cluster.lifecycle.steps import NAME_WIDTH
from cluster.processor import this_processor

DrainOption = Annotated[bool, typer.Option("--drain", help="First let calls end, waiting at most ingress.drain_s.")]
NameArgument = Annotated[str | None, typer.Argument(help="redis, milvus, ray or a deployment. Default: list the logs.")]


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def up(profile: ProfileOption = None, file: FileOption = None) -> None:
    """Start the local services and the cluster, deploy the application, and print its addresses."""
    from cluster.cli.models import shown_progress
    from cluster.lifecycle import up as bring_up

    config = config_of(profile, file)
    console = Console()
    # A `kill` must clean up just as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    with shown_progress() as progress:
        state = bring_up(config, console, progress=progress)
    if config.knowledge.live_updates:
        from cluster.cli.ingest.cluster import open_cluster

        job, is_new = open_cluster(profile, file).ensure_follower()
        console.print(f"  live updates   {'started' if is_new else 'running'}: {job}", soft_wrap=True)
    console.print(f"voxray is up: {state.ws_url}", soft_wrap=True)


def down(profile: ProfileOption = None, file: FileOption = None, drain: DrainOption = False) -> None:
    """Stop everything that `up` started. Data is kept."""
    from cluster.lifecycle import down as bring_down

    survivors = bring_down(config_of(profile, file), Console(), drain=drain)
    if survivors:
        typer.echo(f"voxray: could not end: {', '.join(map(str, survivors))}", err=True)
        raise typer.Exit(1)
    typer.echo("voxray is down")


def restart(profile: ProfileOption = None, file: FileOption = None, drain: DrainOption = False) -> None:
    """Stop everything, then start it again."""
    down(profile, file, drain)
    up(profile, file)


def status(profile: ProfileOption = None, file: FileOption = None) -> None:
    """Show what is running, where, and its health. Exit code: 0 all up, 3 not running, 4 degraded."""
    from cluster.lifecycle.running import head_of

    config = config_of(profile, file)
    found = look_elsewhere(*head_of(config)) if config.ray.address else look(config)
    console = Console()
    show_status(found, console)
    if not config.ray.address:
        show_processor(config, console)
    raise typer.Exit(found.exit_code)


def show_status(found: ClusterStatus, console: Console) -> None:
    """Print a table that fits into 80 columns, and below it each address on its own line, ready to be copied."""
    table = Table("service", "state", box=rich.box.SIMPLE, pad_edge=False)
    for column in ("pid", "uptime", "memory"):
        table.add_column(column, no_wrap=True, justify="right")
    for row in found.rows:
        style = "green" if row.state == UP else "red"
        memory = "" if row.pss_bytes is None else f"{row.pss_bytes / 2**20:.0f} MiB"
        pid = "" if row.pid is None else str(row.pid)
        table.add_row(row.name, f"[{style}]{row.state}[/]", pid, _duration_text(row.uptime_s), memory)
    console.print(table)
    if any(row.pss_bytes is not None for row in found.rows):
        console.print(f"memory of all processes (proportional): {found.total_pss_bytes / 2**20:.0f} MiB\n")
    for row in found.rows:
        if row.address:
            console.print(f"{row.name:<{NAME_WIDTH}} {row.address}", soft_wrap=True, highlight=False, markup=False)


def show_processor(config: VoxrayConfig, console: Console) -> None:
    """Print this machine's processor, and the settings with which engines without a GPU compute on it."""
    processor = this_processor()
    console.print(f"\n{'processor':<{NAME_WIDTH}} {processor}", soft_wrap=True, highlight=False, markup=False)
    for component, name, pool in config.pools.each():
        fit = {} if pool.replicas.num_gpus else spec_of(component, pool.engine).fit(pool, processor)
        if fit:
            chosen = ", ".join(f"{key} {value}" for key, value in fit.items())
            console.print(f"{component.label} pool {name}: {chosen}", soft_wrap=True, highlight=False, markup=False)


def logs(
    name: NameArgument = None,
    profile: ProfileOption = None,
    file: FileOption = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing lines as they are written, until Ctrl-C.")
    ] = False,
    lines: Annotated[int, typer.Option("-n", min=1, help="Number of lines to begin with.")] = 50,
) -> None:
    """Print the end of a log."""
    from cluster.lifecycle.layout import folder_of
    from cluster.lifecycle.logs import follow as follow_lines
    from cluster.lifecycle.logs import last_lines, log_files

    found = log_files(folder_of(config_of(profile, file)))
    if name is None:
        for known, path in found.items():
            typer.echo(f"{known:<16} {path}")
        return
    chosen = {known.lower(): path for known, path in found.items()}.get(name.lower())
    if chosen is None:
        raise typer.BadParameter(f"no log of {name!r}; there are: {', '.join(found) or 'none yet'}")
    for line in last_lines(chosen, lines):
        typer.echo(line)
    if follow:
        try:
            for line in follow_lines(chosen):
                typer.echo(line)
        except KeyboardInterrupt:
            raise typer.Exit(0) from None


def _duration_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
