"""Draws the time line of docs/scaling.md: python -m tests.bench.plot_timeline ROWS.jsonl PLOT.png"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from autoscaling.simulator.plots import plot_timeline


def main() -> None:
    """Draw the looks of `tests.ray.drivers.scaling_run`."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if "at_s" in row and row["running"]]
    plot_timeline(rows, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
