"""Everything that can go wrong with a model file. Each message says what to do about it.

CatalogError
├── UnknownModel         no entry has this name
├── ModelMissing         not fetched yet
├── NotPinned            the entry knows no hash and nobody has pinned one here
├── WrongHash            the received bytes differ from the entry's hash and are deleted
├── SourceRefused        the source answered that the file is missing or not allowed
├── SourceUnreachable    the source did not answer, or the line broke too often; what arrived is kept
├── DiskFull             there is not enough space; what arrived is deleted
└── FolderNotWritable    the models folder cannot be written
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import VoxrayError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_RIGHT = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class CatalogError(VoxrayError):
    """A model cannot be obtained."""


class UnknownModel(CatalogError):
    """No entry has this name."""


class ModelMissing(CatalogError):
    """The model is in the catalog, but not on this machine."""


class NotPinned(CatalogError):
    """The entry has no hash, and none was pinned on this machine."""


class WrongHash(CatalogError):
    """The received bytes differ from what the entry says."""


class SourceRefused(CatalogError):
    """The source answered with a refusal."""


class SourceUnreachable(CatalogError):
    """The source did not answer, or the line broke too often."""


class DiskFull(CatalogError):
    """There is no room for the file."""


class FolderNotWritable(CatalogError):
    """The models folder cannot be written."""


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Map disk errors while `folder` is written to a CatalogError. Other errors pass through."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFull(
                f"no room left in {folder} ({error.strerror}). "
                "Free some, or set VOXRAY_MODELS to a folder on another disk"
            ) from error
        if error.errno in _NO_RIGHT:
            raise FolderNotWritable(
                f"{folder} cannot be written ({error.strerror}). Set VOXRAY_MODELS to a folder of yours"
            ) from error
        raise
