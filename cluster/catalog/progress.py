"""How the catalog tells what it is doing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by the catalog, on its own thread, one file after the other."""

    def begin(self, label: str, total_bytes: int | None) -> None:
        """A transfer starts; None: the size is not known."""

    def at(self, done_bytes: int) -> None:
        """The transfer has come this far, counted from the file's first byte (a resumed one does not start at 0)."""

    def note(self, text: str) -> None:
        """Something worth a line happened."""


class SilentProgress:
    """For callers that show nothing."""

    def begin(self, label: str, total_bytes: int | None) -> None: ...

    def at(self, done_bytes: int) -> None: ...

    def note(self, text: str) -> None: ...
