"""NeMo manifests: JSON Lines with `audio_filepath`, `duration` (s), `text`, and our own tags."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ManifestLine:
    """One recording. `audio_filepath` is relative to the manifest's folder."""

    audio_filepath: str
    duration: float
    text: str
    voice: str
    voice_seen: bool
    source: str
    noise: str = "none"
    band: str = "16k"


def write_manifest(path: Path, lines: Iterable[ManifestLine]) -> None:
    """Replace the manifest atomically, so that a reader sees either the old or the new one."""
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(asdict(line)) + "\n" for line in lines), "utf-8")
    part.replace(path)
