"""Shows what `up` and `down` are doing, with one line per step and the time it took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cluster.lifecycle.rollouts.deployment import ApplicationProgress, DeploymentProgress

NAME_WIDTH = 14
_STATE_STYLES = {"HEALTHY": "green", "UNHEALTHY": "red", "DEPLOY_FAILED": "red"}


class Step:
    """A step in progress. `result` and `detail` are shown at its end, and `update` shows a word in the meantime."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.result = "ready"
        self.detail = ""


class Steps:
    """Prints steps to a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, name: str, doing: str) -> Iterator[Step]:
        """Show that `name` is in progress, then its result and duration. A failure is shown and re-raised."""
        step = Step(name)
        started = time.monotonic()
        try:
            # A terminal can have only one live display, so a step that draws its own passes no `doing`.
            with self.console.status(f"{name}: {doing}") if doing and self.console.is_terminal else nullcontext():
                yield step
        except BaseException:
            self._line(step.name, "[red]failed[/]", time.monotonic() - started, "")
            raise
        self._line(step.name, step.result, time.monotonic() - started, step.detail)

    def tell(self, text: str) -> None:
        """Print a remark to the console."""
        self.console.print(f"  {escape(text)}", soft_wrap=True)

    def _line(self, name: str, result: str, seconds: float, detail: str) -> None:
        self.console.print(f"  {name:<{NAME_WIDTH}} {result:<10} {seconds:6.1f} s  {escape(detail)}", soft_wrap=True)


def progress_table(progress: ApplicationProgress, seconds: dict[str, float]) -> Table:
    """Return one line per deployment with its state, its replicas, and the seconds so far or until it was healthy."""
    table = Table.grid(padding=(0, 2))
    for line in progress.deployments:
        state = Text(line.state.lower(), style=_STATE_STYLES.get(line.state, "yellow"))
        table.add_row(f"    {line.name:<{NAME_WIDTH}}", state, _replicas(line), f"{seconds.get(line.name, 0.0):5.1f} s")
    if not progress.deployments:
        table.add_row("    application", Text(progress.state.lower(), style="yellow"), "", "")
    return table


def progress_line(line: DeploymentProgress, seconds: float) -> str:
    """Return one deployment's state as a line of text, for consoles that cannot be redrawn."""
    return f"    {line.name:<{NAME_WIDTH}} {line.state.lower():<14} {_replicas(line):>5}  {seconds:6.1f} s"


def _replicas(line: DeploymentProgress) -> str:
    return f"{line.running}/{line.wanted}"
