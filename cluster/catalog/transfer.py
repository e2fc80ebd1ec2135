"""Downloads one file, however often the line breaks.

Bytes go to `<target>.part`, and a broken transfer resumes where it stopped, in this run or a later one. The file gets
its final name only when it is complete. The caller must check that the bytes are right.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tenacity

from cluster.catalog.errors import DiskFull, SourceUnreachable, disk_errors
from cluster.catalog.progress import Progress


class LineBroken(Exception):
    """The transfer stopped early for a reason that may be temporary."""


class OffsetRefused(Exception):
    """The source has nothing at the requested offset, so the part on disk is not the start of its file."""


@dataclass(frozen=True, slots=True)
class Body:
    """The rest of a file. `start` is its actual offset, which is 0 when the source cannot start in the middle."""

    start: int
    total_bytes: int | None
    chunks: Iterator[bytes]


class RemoteFile(Protocol):
    """A file that can be read from the middle."""

    @property
    def label(self) -> str:
        """The file's name in messages, without credentials."""

    def open(self, offset: int) -> AbstractContextManager[Body]:
        """Open the file at `offset`. Opening or reading raises LineBroken, OffsetRefused or a CatalogError."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many tries without progress are allowed, and how long to wait in between (doubling from `first_wait_s`)."""

    tries: int = 5
    first_wait_s: float = 0.5
    longest_wait_s: float = 10.0


DEFAULT_PATIENCE = Patience()


def transfer(remote: RemoteFile, target: Path, progress: Progress, patience: Patience) -> None:
    """Download `remote` to `target`.

    Interrupting keeps the part that has arrived, and the next call resumes from there.

    Raises:
        SourceUnreachable: the line broke `patience.tries` times in a row without progress. The part is kept.
        SourceRefused: the source refused.
        DiskFull: there is not enough space. The part is deleted.
    """
    part = target.with_name(target.name + ".part")
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _with_retries(remote, part, progress, patience)
        except DiskFull:
            part.unlink(missing_ok=True)
            raise
        part.replace(target)


def _with_retries(remote: RemoteFile, part: Path, progress: Progress, patience: Patience) -> None:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type((LineBroken, OffsetRefused)),
        stop=_NoProgress(part, patience.tries),
        wait=tenacity.wait_exponential(multiplier=patience.first_wait_s, max=patience.longest_wait_s),
        before_sleep=lambda state: progress.note(f"{remote.label}: {_cause(state)}; trying again"),
        reraise=True,
    )
    try:
        retrying(_continue, remote, part, progress)
    except (LineBroken, OffsetRefused) as error:
        raise SourceUnreachable(
            f"{remote.label}: {error}. Is there a network, a proxy, the right index? Run the command again to resume"
        ) from error


def _cause(state: tenacity.RetryCallState) -> str:
    return str(state.outcome.exception()) if state.outcome else "broken"


class _NoProgress(tenacity.stop.stop_base):
    """Stops after too many tries in a row without progress, so that a long file over a bad line still arrives."""

    def __init__(self, part: Path, tries: int) -> None:
        self._part = part
        self._tries = tries
        self._size = _size(part)
        self._in_vain = 0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:  # noqa: ARG002 - tenacity's signature
        size = _size(self._part)
        self._in_vain = 0 if size > self._size else self._in_vain + 1
        self._size = size
        return self._in_vain >= self._tries


def _continue(remote: RemoteFile, part: Path, progress: Progress) -> None:
    try:
        with remote.open(_size(part)) as body, disk_errors(part.parent), part.open("ab") as out:
            out.truncate(body.start)
            done = body.start
            progress.begin(remote.label, body.total_bytes)
            for chunk in body.chunks:
                out.write(chunk)
                done += len(chunk)
                progress.at(done)
    except OffsetRefused:
        part.unlink(missing_ok=True)
        raise
    if body.total_bytes is not None and done != body.total_bytes:
        raise LineBroken(f"the line broke after {done} of {body.total_bytes} bytes")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
