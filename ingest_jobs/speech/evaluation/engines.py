"""The recognisers that can be measured, as calls use them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ingest_jobs.speech.evaluation.streaming import Engine, LinkEngine, TranscriberEngine

EngineName = Literal["nemo", "whisper"]


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """The engine to measure, and its settings.

    Attributes:
        model: a .nemo file, or the folder of a CTranslate2 Whisper.
        chunk_ms: chunk length of a NeMo model, or audio between two partials of Whisper.
        threads: number of threads of the engine.
        streams: number of concurrent recordings.
        prompt: words that Whisper is told to expect.
        language_model: language model of a NeMo model.
    """

    name: EngineName
    model: Path
    chunk_ms: int
    threads: int = 1
    streams: int = 16
    prompt: str = ""
    language_model: Path | None = None

    @property
    def label(self) -> str:
        """The engine's name in the report."""
        language = " with language" if self.language_model else ""
        return f"{self.name} {self.chunk_ms} ms{language}"


def open_engine(choice: EngineChoice) -> Engine:
    """Load and warm up the engine. Must be called on the event loop's thread, which is blocked while loading.

    Raises:
        EngineError: the model cannot be used.
    """
    if choice.name == "nemo":
        from deployments.engines.nemo import NemoSettings
        from deployments.engines.nemo.recognizer import make_stepper
        from deployments.engines.nemo.stepper import StepperLimits
        from deployments.engines.streaming.loop import LoopLimits, StreamLoop

        settings = NemoSettings(
            chunk_ms=choice.chunk_ms,
            device="cpu",
            threads=choice.threads,
            language_model=str(choice.language_model) if choice.language_model else "none",
        )
        limits = StepperLimits(slots=choice.streams, max_batch=choice.streams, digits=False)
        # Recordings arrive faster than real time, so late ticks are expected here.
        loop = LoopLimits(max_streams=choice.streams, late_ms=600_000, gather_ms=0)
        recognizer = StreamLoop(lambda: make_stepper(choice.model, settings, limits), loop)
        recognizer.warm_up()
        return LinkEngine(recognizer)
    from deployments.engines.whisper.recognizer import WhisperRecognizer
    from pipelines.hearing.windowed import WindowedTranscriber

    whisper = WhisperRecognizer(choice.model, threads=choice.threads, language="en")
    whisper.warm_up()
    recognize = partial(whisper.recognize, expected_words=choice.prompt)
    return TranscriberEngine(WindowedTranscriber(recognize, partial_interval_ms=choice.chunk_ms), whisper.close)
