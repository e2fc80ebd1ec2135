"""The command line, `voxray`.

One table names every command and the module that holds it; a module is imported only when its command runs (or asks
for its own help), because some of them import Ray. To add a command, add a line to `COMMANDS`. A target is either a
plain function with typer annotations, or a `typer.Typer` with sub-commands.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted (typer's own).
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from pipelines.errors import ConfigError, VoxrayError


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """The location of a command. `target` is "module:attribute"; `help` is its line in `voxray --help`."""

    target: str
    help: str


COMMANDS: dict[str, CommandEntry] = {
    "call": CommandEntry("cluster.cli.call:call", "Place one spoken call and show it as it happens."),
    "up": CommandEntry("cluster.cli.services:up", "Start the local services and the cluster."),
    "down": CommandEntry("cluster.cli.services:down", "Stop everything that `up` started."),
    "restart": CommandEntry("cluster.cli.services:restart", "Stop everything, then start it again."),
    "status": CommandEntry("cluster.cli.services:status", "Show what is running, where, and its health."),
    "logs": CommandEntry("cluster.cli.services:logs", "Print or follow the log of a service or a deployment."),
    "preflight": CommandEntry("cluster.cli.preflight:preflight", "Check offline whether the configuration can work."),
    "deploy": CommandEntry("cluster.cli.deploy:deploy", "Apply the configuration to a running cluster."),
    "drain": CommandEntry("cluster.cli.deploy:drain", "Refuse new calls and wait until the open ones end."),
    "rollback": CommandEntry("cluster.cli.deploy:rollback", "Restore the previously deployed configuration."),
    "render": CommandEntry("cluster.cli.render:app", "Render files for other systems."),
    "models": CommandEntry("cluster.cli.models:app", "List, fetch and verify model weights."),
    "config": CommandEntry("cluster.cli.config:app", "Show and check the configuration."),
    "bench": CommandEntry("cluster.cli.measuring.bench:bench", "Measure latency per stage and voice-to-voice."),
    "profile": CommandEntry("cluster.cli.scaling.profile:profile_command", "Measure an engine on this machine."),
    "plan": CommandEntry("cluster.cli.scaling.plan:plan", "Plan machines, packing and cost for a number of calls."),
    "simulate": CommandEntry(
        "cluster.cli.scaling.simulate:simulate", "Replay a day of calls against the scaling policy."
    ),
    "compare": CommandEntry("cluster.cli.scaling.compare:compare", "Compare the scaling policy with Ray Serve's own."),
    "ingest": CommandEntry("cluster.cli.ingest.commands:app", "Index a folder of business data."),
    "retrieve": CommandEntry(
        "cluster.cli.measuring.retrieve:app", "Search the business data, explain and measure the search."
    ),
    "asr": CommandEntry("cluster.cli.measuring.asr:app", "Measure speech recognition, and train a small one."),
    "erase": CommandEntry("cluster.cli.ingest.erase:erase", "Erase a person's data everywhere and give a receipt."),
    "eval": CommandEntry(
        "cluster.cli.measuring.evaluate:evaluate", "Ask the sample questions; print right, wrong and refused."
    ),
}


class LazyGroup(typer.core.TyperGroup):
    """A command group that imports a command's module on first use, and imports none for its own help page."""

    _is_rendering_help = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._is_rendering_help = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._is_rendering_help = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        """Return the command, or None when there is no such command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        if self._is_rendering_help:
            return typer.core.TyperCommand(cmd_name, help=entry.help)
        return _load(cmd_name, entry)


def _load(name: str, entry: CommandEntry) -> Any:
    module_name, _, attribute = entry.target.partition(":")
    target = getattr(importlib.import_module(module_name), attribute)
    if isinstance(target, typer.Typer):
        command: Any = typer.main.get_command(target)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(name)(target)
        command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Voxray: spoken conversations with AI agents on your own machines.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"voxray {version('voxray')}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options of the group itself."""


def main() -> None:
    """Run the command line. Errors that an operator can act on are printed as one message without a traceback."""
    try:
        app()
    except ConfigError as error:
        typer.echo(f"voxray: configuration: {error}", err=True)
        sys.exit(2)
    except VoxrayError as error:
        typer.echo(f"voxray: {error}", err=True)
        sys.exit(1)
