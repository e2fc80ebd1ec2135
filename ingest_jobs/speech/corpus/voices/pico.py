"""SVOX Pico from the package py-nanotts: one American and one British speaker, both very fast."""

from __future__ import annotations

import random

import numpy as np
from py_nanotts import NanoTTS

from ingest_jobs.speech.corpus.voices.voice import Samples


class PicoVoices:
    """Implements `SpeakingEngine` for the speakers "en-US" and "en-GB"."""

    def __init__(self) -> None:
        self._engine = NanoTTS()

    def speak(self, text: str, speaker: str, rng: random.Random) -> Samples:
        """Return 16 kHz samples.

        The pace varies from 0.85 to 1.2 and the pitch from 0.75 to 1.25 of the speaker's own.
        """
        pcm = self._engine.speak(text, voice=speaker, speed=rng.uniform(0.85, 1.2), pitch=rng.uniform(0.75, 1.25))
        return np.frombuffer(pcm, np.int16).astype(np.float32) / 32768.0
