"""`voxray preflight`."""

from __future__ import annotations

from typing import Annotated

import rich.box
import typer
from rich.console import Console
from rich.table import Table

from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.environment import process_environment

HereOption = Annotated[
    bool | None,
    typer.Option(
        "--here/--elsewhere", help="Whether replicas run on this machine. Default: yes if ray.address is empty."
    ),
]


def preflight(profile: ProfileOption = None, file: FileOption = None, here: HereOption = None) -> None:
    """Check offline whether the configuration can work. If not, print reasons and fixes and end with exit code 2."""
    from cluster.lifecycle import attach
    from cluster.preflight import inspect
    from cluster.preflight.check import RULES

    environment = process_environment()
    config = config_of(profile, file)
    is_here = not config.ray.address if here is None else here
    is_running = not config.ray.address and attach(config) is not None
    findings = inspect(config, environment, is_here=is_here, is_running=is_running)
    console = Console()
    where = "here" if is_here else "elsewhere"
    if not findings:
        console.print(f"preflight of the profile {config.profile} ({where}): {len(RULES)} rules, nothing found")
        return
    table = Table("rule", "problem", "then", "fix", box=rich.box.SIMPLE, show_lines=True)
    for finding in findings:
        table.add_row(finding.rule, finding.problem, finding.consequence, finding.fix)
    console.print(table)
    typer.echo(f"voxray: {len(findings)} findings; the configuration would not work as it is", err=True)
    raise typer.Exit(2)
