"""Shows a call on the terminal as it happens."""

from __future__ import annotations

import types
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.caller.line import TurnResult

# What happens up to each mark, in order, as (label, mark).
STAGES = (
    ("silence noticed", "paused"),
    ("words recognised", "transcript"),
    ("turn judged", "judged"),
    ("passage found", "passages"),
    ("first clause written", "first_clause"),
    ("first audio made", "first_audio"),
    ("turn over", "turn_end"),
    ("first audio sent", "answered"),
)


class CallScreen:
    """A context manager that shows partial and final words, the passage, the answer and the timing."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._hearing, self._is_final, self._answer = "", False, ""
        self._live = Live(console=console, refresh_per_second=12, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Show one server event."""
        match event["type"]:
            case "voxray.transcript.partial":
                self._hearing = event["text"]
                self._line("hearing", self._hearing)
            case "conversation.item.input_audio_transcription.completed":
                self._hearing, self._is_final = event["transcript"], True
                self._line("heard", self._hearing)
            case "response.output_audio_transcript.delta":
                self._answer += event["delta"]
            case "response.output_audio_transcript.done":
                self._line("answer", event["transcript"].strip())
            case _:
                return
        self._live.update(self._lines())

    def conclude(self, result: TurnResult) -> None:
        """Show the passage and where the time went."""
        marks = result.trace.get("marks_ms", {})
        passages = result.trace.get("passages", [])
        if passages:
            used = passages[0]
            self._console.print(Text.assemble(("passage     ", "bold"), f"{used['text']}  ", (used["source"], "dim")))
        grounding = result.trace.get("grounding", "")
        self._console.print(Text.assemble(("words from  ", "bold"), grounding))
        table = Table("stage", "ms after the last sound", box=None, pad_edge=False, title_justify="left")
        table.columns[1].justify = "right"
        for label, mark in sorted(STAGES, key=lambda stage: marks.get(stage[1], 0)):
            if mark in marks:
                table.add_row(label, str(marks[mark]))
        if result.voice_to_voice_ms is not None:
            table.add_row("[bold]first audio at the caller[/]", f"[bold]{result.voice_to_voice_ms:.0f}[/]")
        self._console.print()
        self._console.print(table)
        if result.playout.longest_gap_ms > 0:
            self._console.print(f"[yellow]longest audio gap {result.playout.longest_gap_ms:.0f} ms[/]")

    def _line(self, label: str, text: str) -> None:
        """Print the line at once, since there is no live screen."""
        if not self._console.is_terminal:
            self._console.print(Text.assemble((f"{label:<12}", "bold"), text))

    def _lines(self) -> Group:
        heard = Text.assemble(("heard       " if self._is_final else "hearing     ", "bold"), self._hearing)
        answer = Text.assemble(("answer      ", "bold"), self._answer.strip())
        return Group(heard, answer) if self._answer else Group(heard)
