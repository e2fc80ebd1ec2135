"""The layout of the state folder of one local cluster.

    STATE/
      run/      state.json, the lock, generated files (redis.conf, haproxy wrapper, rendered Serve configuration)
      logs/     one log per service; the previous start's is kept as NAME.log.1, NAME.log.2, ...
      secrets/  the Ray cluster's token (0600)
      redis/    append-only file        milvus/   collections
      voxray.sqlite                     objects/  the local object store

Ray's own files go to a folder with a short path below the system's temporary folder, because the path of a Unix socket
may not exceed 107 bytes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ConfigError

# Ray adds "session_DATE_TIME_MICROS_PID/sockets/plasma_store" (64 bytes) and HAProxy "h/NODE_ID/a.PID.tmp" (74 bytes).
LONGEST_RAY_FOLDER_BYTES = 107 - 76


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Paths under one state folder. `root` must be absolute and resolved (see `open_state_folder`)."""

    root: Path

    @property
    def digest(self) -> str:
        """Hexadecimal digest of the path, which distinguishes two clusters on one machine."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()

    @property
    def run_id(self) -> str:
        """The marker that all processes of this cluster carry."""
        return f"voxray-{self.digest[:16]}"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def token_file(self) -> Path:
        return self.root / "secrets" / "ray_token"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def milvus(self) -> Path:
        return self.root / "milvus"

    @property
    def sqlite_file(self) -> Path:
        return self.root / "voxray.sqlite"

    @property
    def objects(self) -> Path:
        return self.root / "objects"

    @property
    def ray(self) -> Path:
        """Ray's temporary folder, which is not created here."""
        return Path(tempfile.gettempdir()) / f"vx{os.getuid()}-{self.digest[:8]}"

    def log(self, name: str) -> Path:
        """The current log of a service."""
        return self.logs / f"{name}.log"


def open_state_folder(root: Path) -> StateFolder:
    """Create the folders (mode 0700, since they hold transcripts and tokens) and return their paths.

    Raises:
        ConfigError: the folder cannot be created or belongs to another user.
    """
    folder = StateFolder(root.expanduser().resolve())
    try:
        for path in (folder.root, folder.run, folder.logs, folder.redis, folder.milvus, folder.objects):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.token_file.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"paths.state: cannot use {folder.root}: {error.strerror}") from error
    return folder


def make_private(path: Path) -> Path:
    """Create a folder in a place that others can write to, and make sure that nobody else created it first.

    Raises:
        ConfigError: it exists and is a link, belongs to another user or is open to others, or its path is too long for
            sockets.
    """
    if len(os.fsencode(path)) > LONGEST_RAY_FOLDER_BYTES:
        raise ConfigError(
            f"the temporary folder {path.parent} is too long for Unix sockets "
            f"({len(os.fsencode(path))} > {LONGEST_RAY_FOLDER_BYTES} bytes): set TMPDIR to a shorter one"
        )
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ConfigError(f"{path} belongs to somebody else: remove it or set TMPDIR")
    if stat.S_IMODE(found.st_mode) & 0o077:
        path.chmod(0o700)
    return path
