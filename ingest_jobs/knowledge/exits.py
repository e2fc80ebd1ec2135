"""Exit codes of the jobs' commands."""

from __future__ import annotations

from ingest_jobs.knowledge.run.quality import GateFailed
from pipelines.errors import CapacityError, ConfigError, EngineError, VoxrayError

EXIT_CODES: tuple[tuple[type[VoxrayError], int], ...] = (
    (ConfigError, 2),
    (GateFailed, 4),
    (CapacityError, 5),
    (EngineError, 3),
    (VoxrayError, 1),
)


def exit_code(error: VoxrayError) -> int:
    """Return the exit code of a command that ended with `error`."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))
