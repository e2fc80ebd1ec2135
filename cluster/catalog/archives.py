"""Extracts named files from a wheel or an npm tarball. Nothing else in the archive is touched, and no code is run."""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cluster.catalog.errors import SourceRefused, disk_errors

COPY_BYTES = 1 << 20


def extract(archive: Path, member: str, target: Path) -> None:
    """Write the archive's file `member` to `target`.

    Raises:
        SourceRefused: the archive is damaged or lacks the file.
        DiskFull: there is not enough space.
    """
    extract_joined([(archive, member)], target)


def extract_joined(pieces: list[tuple[Path, str]], target: Path) -> None:
    """Write the named files of several archives, one after the other, into the one file `target`.

    Raises:
        SourceRefused: an archive is damaged or lacks a file.
        DiskFull: there is not enough space. What was written is deleted.
    """
    with disk_errors(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("wb") as out:
                for archive, member in pieces:
                    with _opened(archive, member) as stream:
                        shutil.copyfileobj(stream, out, COPY_BYTES)
        except BaseException:
            target.unlink(missing_ok=True)
            raise


@contextmanager
def _opened(archive: Path, member: str) -> Iterator[IO[bytes]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as stream:
                yield stream
        else:
            with tarfile.open(archive) as tarball:
                found = tarball.extractfile(member)
                if found is None:
                    raise KeyError(member)
                with found:
                    yield found
    except KeyError as error:
        raise SourceRefused(f"{archive.name} holds no file {member}") from error
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise SourceRefused(f"{archive.name} is damaged: {error}") from error
