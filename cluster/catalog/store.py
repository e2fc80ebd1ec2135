"""The models folder: knows what is installed and intact without reading it all, and installs atomically.

    <models>/<name>/<revision>/files/...       the model
    <models>/<name>/<revision>/verified.json   hash, size and time of each file when it was last hashed
    <models>/.incoming/...                     downloads and half-made folders; safe to delete when nothing runs
    <models>/pins.json                         hashes trusted on first use

A warm start compares only sizes and times; `verify` hashes everything again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock

from cluster.catalog.errors import WrongHash, disk_errors
from cluster.catalog.progress import Progress

FILES = "files"
MARKER = "verified.json"


@dataclass(frozen=True, slots=True)
class VerifiedFile:
    """A file as it was when its hash was verified."""

    sha256: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class ModelStore:
    """The models folder."""

    folder: Path

    def home(self, name: str, revision: str) -> Path:
        """Return the folder of this revision, whether or not it exists."""
        return self.folder / name / revision

    def incoming(self, *parts: str) -> Path:
        """Return a path for unfinished files, on the same disk as the finished ones."""
        return self.folder.joinpath(".incoming", *parts)

    def is_installed(self, name: str, revision: str) -> bool:
        """Return whether every file is present with the size and time it had when its hash was verified."""
        home = self.home(name, revision)
        known = read_marker(home)
        return bool(known) and all(_is_unchanged(home / FILES / path, file) for path, file in known.items())

    @contextmanager
    def lock(self, name: str, progress: Progress) -> Iterator[None]:
        """Exclude other processes from `name` until the end of the block, and tell the user when it has to wait."""
        path = self.incoming(f"{name}.lock")
        with disk_errors(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(path)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                progress.note(f"another process is fetching {name}; waiting for it")
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def install(self, name: str, revision: str, staged: Path, hashes: Mapping[str, str]) -> None:
        """Move the folder `staged`, whose files have these hashes, into place atomically, replacing any other."""
        with disk_errors(self.folder):
            write_marker(staged, hashes)
            home = self.home(name, revision)
            home.parent.mkdir(parents=True, exist_ok=True)
            if home.exists():
                shutil.rmtree(home)
            staged.replace(home)

    def pins(self, name: str) -> dict[str, str]:
        """Return the hashes by path that were trusted on first use for `name`."""
        try:
            pins: dict[str, dict[str, str]] = json.loads((self.folder / "pins.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return pins.get(name, {})

    def pin(self, name: str, hashes: Mapping[str, str]) -> None:
        """Record `hashes` as those that `name` must have from now on."""
        file = self.folder / "pins.json"
        with disk_errors(self.folder), filelock.FileLock(self.incoming("pins.lock")):
            pins = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
            pins[name] = dict(sorted(hashes.items()))
            _write_at_once(file, json.dumps(pins, indent=1, sort_keys=True))


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files below `folder`, relative, sorted."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def check_hash(path: Path, expected: str, label: str, algorithm: str = "sha256") -> None:
    """Delete `path` and raise WrongHash unless it has this digest."""
    found = hash_file(path, algorithm)
    if found != expected:
        path.unlink()
        raise WrongHash(
            f"{label}: the bytes do not match their hash and were deleted (expected {algorithm} {expected}, "
            f"got {found}). Try again; if it fails again, the source has changed or something on the way rewrites it"
        )


def read_marker(home: Path) -> dict[str, VerifiedFile]:
    """Return what was verified in `home`, or nothing without a readable record."""
    try:
        content = json.loads((home / MARKER).read_text(encoding="utf-8"))
        return {path: VerifiedFile(**file) for path, file in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_marker(home: Path, hashes: Mapping[str, str]) -> None:
    """Record that the files of `home` have these hashes, with their current size and time."""
    verified = {path: asdict(_as_it_is(home / FILES / path, sha256)) for path, sha256 in hashes.items()}
    _write_at_once(home / MARKER, json.dumps(verified, indent=1, sort_keys=True))


def _as_it_is(path: Path, sha256: str) -> VerifiedFile:
    stat = path.stat()
    return VerifiedFile(sha256, stat.st_size, stat.st_mtime_ns)


def _is_unchanged(path: Path, known: VerifiedFile) -> bool:
    try:
        return _as_it_is(path, known.sha256) == known
    except OSError:
        return False


def _write_at_once(file: Path, text: str) -> None:
    scratch = file.with_name(f".{file.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(file)
