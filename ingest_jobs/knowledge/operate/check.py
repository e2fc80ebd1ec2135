"""Reads a dataset's description and reports what is wrong with it, before a job is submitted for it.

python -m ingest_jobs.knowledge.operate.check DATASET
"""

from __future__ import annotations

import sys
from pathlib import Path

from ingest_jobs.knowledge.read.dataset import load_dataset
from pipelines.errors import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    (source,) = sys.argv[1:] if arguments is None else arguments
    try:
        load_dataset(Path(source))
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the answer of this command
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
