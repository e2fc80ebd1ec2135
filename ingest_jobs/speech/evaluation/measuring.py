"""Measures the errors, latency and cost of one engine on one manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ingest_jobs.speech.evaluation.engines import EngineChoice, open_engine
from ingest_jobs.speech.evaluation.normalizing import scored_words
from ingest_jobs.speech.evaluation.recordings import TAGS, BrokenLine, TestRecording, load_pcm
from ingest_jobs.speech.evaluation.scoring import ErrorRate, by_tag, error_rate, score
from ingest_jobs.speech.evaluation.streaming import Engine, Listening, Pcm, hear_all
from pipelines.audio.pcm import PCM_16K

_EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and 95th percentile in ms, and the number of values."""

    p50: float
    p95: float
    count: int


@dataclass(frozen=True, slots=True)
class Report:
    """The results of one engine on the recordings.

    Attributes:
        groups: WER by tag and value.
        final_ms: time from the end of the audio to the final text, in real time.
        partial_lag_ms: time from the end of a partial's audio to the partial.
        first_word_ms: time from the start of the recording, including silence, to the first partial.
        cpu_s_per_audio_s: CPU time of the whole process, with all streams as fast as they are taken.
        live_cpu_s_per_audio_s: CPU time of a single real-time call, including its partials.
        streams_per_core: how many real-time streams one core could carry, as the inverse of `cpu_s_per_audio_s`.
            Scheduling is not considered; `tests/bench` measures streams with deadlines.
        examples: pairs of reference and heard words that differ.
    """

    engine: str
    wer: ErrorRate
    groups: dict[str, dict[str, ErrorRate]]
    final_ms: Spread | None
    partial_lag_ms: Spread | None
    first_word_ms: Spread | None
    cpu_s_per_audio_s: float
    live_cpu_s_per_audio_s: float | None
    streams_per_core: float
    audio_s: float
    failures: int
    examples: list[tuple[str, str]]

    def as_json(self) -> dict[str, Any]:
        """Return plain data for a file."""
        return asdict(self)


def load_recordings(
    recordings: Sequence[TestRecording],
) -> tuple[list[tuple[TestRecording, Pcm]], list[BrokenLine]]:
    """Return the recordings with their audio, and those that are not readable as audio."""
    loaded, broken = [], []
    for recording in recordings:
        try:
            loaded.append((recording, load_pcm(recording.path)))
        except ValueError as error:
            broken.append(BrokenLine(recording.line, str(error)))
    return loaded, broken


async def measure(
    choice: EngineChoice, loaded: Sequence[tuple[TestRecording, Pcm]], live: int, on_done: Callable[[], None]
) -> Report:
    """Recognise every recording as fast as possible, and `live` of them again in real time.

    Args:
        on_done: called after each of `len(loaded) + live` recordings.

    Raises:
        EngineError: the engine cannot be loaded.
    """
    engine = open_engine(choice)
    try:
        audio = [pcm for _, pcm in loaded]
        heard, cpu_s = await hear_all(engine, audio, choice.streams, on_done)
        paced = await _paced(engine, audio, live, on_done)
    finally:
        engine.close()
    return _report(choice, loaded, heard, paced, cpu_s / _seconds(audio))


@dataclass(frozen=True, slots=True)
class _Paced:
    """Recordings that were heard in real time, and the CPU seconds per second of audio."""

    heard: list[Listening]
    cpu_s_per_audio_s: float | None


async def _paced(engine: Engine, audio: Sequence[Pcm], live: int, on_done: Callable[[], None]) -> _Paced:
    """Hear a sample of the recordings one after the other, to measure latency without queueing."""
    if not live:
        return _Paced([], None)
    chosen = audio[:: max(1, len(audio) // live)][:live]
    heard, cpu_s = await hear_all(engine, chosen, 1, on_done, is_live=True)
    return _Paced(heard, cpu_s / _seconds(chosen))


def _seconds(audio: Sequence[Pcm]) -> float:
    return sum(pcm.size for pcm in audio) / PCM_16K.rate_hz


def _report(
    choice: EngineChoice,
    loaded: Sequence[tuple[TestRecording, Pcm]],
    heard: Sequence[Listening],
    paced: _Paced,
    cpu_s_per_audio_s: float,
) -> Report:
    pairs = [(scored_words(r.text), scored_words(h.text)) for (r, _), h in zip(loaded, heard, strict=True)]
    scores = [score(*pair, recording.tags) for pair, (recording, _) in zip(pairs, loaded, strict=True)]
    wrong = [(" ".join(said), " ".join(words)) for said, words in pairs if said != words]
    return Report(
        engine=choice.label,
        wer=error_rate(scores),
        groups={tag: groups for tag in TAGS if (groups := by_tag(scores, tag))},
        final_ms=_spread([each.final_ms for each in paced.heard if not each.error]),
        partial_lag_ms=_spread([lag for each in paced.heard for lag in each.lags_ms]),
        first_word_ms=_spread([each.first_ms for each in paced.heard if each.first_ms is not None]),
        cpu_s_per_audio_s=cpu_s_per_audio_s,
        live_cpu_s_per_audio_s=paced.cpu_s_per_audio_s,
        streams_per_core=1 / cpu_s_per_audio_s if cpu_s_per_audio_s else 0.0,
        audio_s=_seconds([pcm for _, pcm in loaded]),
        failures=sum(bool(each.error) for each in heard),
        examples=wrong[:: max(1, len(wrong) // _EXAMPLES)][:_EXAMPLES],
    )


def _spread(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    p50, p95 = np.percentile(values, (50, 95))
    return Spread(round(float(p50), 1), round(float(p95), 1), len(values))
