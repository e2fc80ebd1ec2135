"""`voxray deploy`, `drain` and `rollback`: change a running cluster while calls are in progress."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import rich.box
import typer
from rich.console import Console
from rich.table import Table

from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.render.changes import Changes

DryOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")]
CALLS_LEFT = 4


def deploy(profile: ProfileOption = None, file: FileOption = None, dry_run: DryOption = False) -> None:
    """Apply the configuration to the running cluster without cutting calls. It is undone if it does not come up."""
    from cluster.cli.models import shown_progress
    from cluster.lifecycle.rollouts import operations

    config, console = config_of(profile, file), Console()
    with shown_progress() as progress, _told_when_interrupted():
        made = operations.deploy(
            config, console, show=lambda changes: _show(changes, console) and not dry_run, progress=progress
        )
    if made is not None:
        console.print(f"deployed as number {made.number}; `voxray rollback` restores the previous one")


def rollback(
    profile: ProfileOption = None,
    file: FileOption = None,
    to: Annotated[int | None, typer.Option(help="Number of a deployment. Default: the previous one.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Only list what was deployed.")] = False,
    dry_run: DryOption = False,
) -> None:
    """Restore the previously deployed configuration without cutting calls."""
    from cluster.lifecycle.rollouts import operations

    config, console = config_of(profile, file), Console()
    if show_list:
        table = Table("number", "when (UTC)", "what", box=rich.box.SIMPLE, pad_edge=False)
        for item in operations.history(config, console):
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(item.at_s))
            table.add_row(str(item.number), when, item.what)
        console.print(table)
        return
    with _told_when_interrupted():
        made = operations.rollback(config, console, to=to, show=lambda changes: _show(changes, console) and not dry_run)
    if made is not None:
        console.print(f"{made.what}: in force as number {made.number}")


def drain(
    profile: ProfileOption = None,
    file: FileOption = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout", help="Longest wait in seconds. Default: ingress.longest_call_s.")
    ] = None,
) -> None:
    """Refuse new calls, and wait until the open ones have ended. Exit code 4 means that some are left."""
    from cluster.lifecycle.rollouts import operations

    config, console = config_of(profile, file), Console()
    wait_s = config.ingress.longest_call_s if timeout_s is None else timeout_s
    shown: list[int] = []

    def show(calls: int) -> None:
        if shown[-1:] != [calls]:
            shown.append(calls)
            console.print(f"  {calls} calls are open")

    left = operations.drain(config, console, timeout_s=wait_s, show=show)
    if left:
        typer.echo(f"voxray: {left} calls are still open after {wait_s:g} s; new ones are refused", err=True)
        raise typer.Exit(CALLS_LEFT)
    console.print("drained: no call is open, new ones are refused; `voxray deploy` lets calls in again")


@contextmanager
def _told_when_interrupted() -> Iterator[None]:
    """Tell the operator what Ctrl-C leaves behind, since Serve continues a roll-out that it has accepted."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(
            "voxray: interrupted; a submitted roll-out continues (see `voxray status`) but is not in the history. "
            "`voxray deploy` or `voxray rollback` replaces it",
            err=True,
        )
        raise


def _show(changes: Changes, console: Console) -> bool:
    if changes.is_empty:
        console.print("nothing changes")
        return True
    for change in changes.deployments:
        keys = f" ({', '.join(change.keys)})" if change.keys else ""
        console.print(f"  {change.deployment:<20} {change.effect}{keys}", highlight=False)
    told = "open calls stay" if changes.keeps_calls else "gateways are replaced: their calls drain (ingress.drain_s)"
    console.print(f"  {told}", highlight=False)
    return True
