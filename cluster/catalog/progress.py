"""The interface through which the catalog reports what it is doing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by the catalog on the catalog's thread, for one file after the other."""

    def begin(self, label: str, total_bytes: int | None) -> None:
        """Note the start of a transfer. A size of None means that it is unknown."""

    def at(self, done_bytes: int) -> None:
        """Note how far the transfer has come, counted from the file's first byte. A resumed one does not start at 0."""

    def note(self, text: str) -> None:
        """Note something that deserves a line of output."""


class SilentProgress:
    """A progress that shows nothing."""

    def begin(self, label: str, total_bytes: int | None) -> None: ...

    def at(self, done_bytes: int) -> None: ...

    def note(self, text: str) -> None: ...
