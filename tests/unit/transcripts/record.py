"""Records all transcripts anew: `python -m tests.unit.transcripts.record`.

Do so only when what callers see was changed on purpose, and read the difference before you commit it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.unit.transcripts.scenarios import RECIPES

FOLDER = Path(__file__).parents[2] / "data" / "transcripts"


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.jsonl"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.jsonl"):
        if old.stem not in RECIPES:
            old.unlink()
    for name, recipe in RECIPES.items():
        lines = recipe.record()
        path_of(name).write_text("\n".join(lines) + "\n")
        sys.stdout.write(f"{name}: {len(lines)} messages\n")


if __name__ == "__main__":
    main()
