"""The product's policy, which writes down what Serve's controller shows it of the replicas' own figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoscaling.ray_adapter import CallsPolicy


class RecordingPolicy(CallsPolicy):
    """Keeps the largest value of each figure of each deployment in a file.

    Args:
        seen_file: written anew when something larger or new was seen.
        arguments: of `CallsPolicy`.
    """

    def __init__(self, seen_file: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._file = Path(seen_file)
        self._seen: dict[str, dict[str, float]] = {}

    def __call__(self, contexts: Mapping[Any, Any]) -> tuple[dict[Any, int], dict[Any, dict[str, Any]]]:
        before = json.dumps(self._seen)
        for context in contexts.values():
            seen = self._seen.setdefault(context.deployment_name, {})
            for metric, series in (context.raw_metrics or {}).items():
                values = [float(point.value) for points in series.values() for point in points]
                seen[metric] = max([*values, seen.get(metric, 0.0)])
        if json.dumps(self._seen) != before:
            self._file.write_text(json.dumps(self._seen), encoding="utf-8")
        return super().__call__(contexts)
