"""Reads NeMo manifests from other sources. A broken line is reported and skipped."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from pipelines.audio.pcm import PCM_16K

# Tags by which results are grouped; others are ignored.
TAGS = ("noise", "band", "voice", "voice_seen", "source")


@dataclass(frozen=True, slots=True)
class TestRecording:
    """A recording with its reference text and its tags."""

    path: Path
    text: str
    tags: dict[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that cannot be used, and why."""

    line: int
    reason: str


def read_manifest(path: Path) -> tuple[list[TestRecording], list[BrokenLine]]:
    """Return the usable lines and the broken ones, in order. Audio paths are relative to the manifest's folder.

    Raises:
        OSError, UnicodeDecodeError: the manifest itself cannot be read.
    """
    good: list[TestRecording] = []
    broken: list[BrokenLine] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            good.append(_recording(line, path.parent, number))
        except ValueError as error:
            broken.append(BrokenLine(number, str(error)))
    return good, broken


def _recording(line: str, folder: Path, number: int) -> TestRecording:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(content, dict):
        raise ValueError("not a JSON object")
    for field in ("audio_filepath", "text"):
        if not isinstance(content.get(field), str) or not content[field].strip():
            raise ValueError(f"no text in the field {field}")
    path = folder / content["audio_filepath"]
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    tags = {tag: str(content[tag]) for tag in TAGS if tag in content}
    return TestRecording(path, content["text"], tags, number)


def load_pcm(path: Path) -> NDArray[np.int16]:
    """Return the recording as 16 kHz mono, whatever its rate and channels.

    Raises:
        ValueError: libsndfile cannot read the file, or it is empty.
    """
    try:
        samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"not readable as audio: {error.error_string}") from None
    mono = samples.mean(axis=1)
    if not mono.size:
        raise ValueError("no samples in it")
    if rate_hz != PCM_16K.rate_hz:
        mono = soxr.resample(mono, rate_hz, PCM_16K.rate_hz)
    pcm: NDArray[np.int16] = np.round(np.clip(mono, -1, 1) * 32767).astype(np.int16)
    return pcm
