"""Very fast formant voices of espeak-ng, through its C library in the package espeakng-loader.

The voices are robotic and therefore complement the neural ones: they have different vowels and transitions, and
thousands of speakers by base pitch, pitch range and the throat shapes of variants. A speaker is "ACCENT+VARIANT", such
as "en-us+f3".
"""

from __future__ import annotations

import ctypes
import random
from typing import Any

import espeakng_loader
import numpy as np

from ingest_jobs.speech.corpus.voices.voice import Samples, at_16k

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE, _WORDGAP = 1, 3, 4, 7
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class EspeakVoices:
    """Implements `SpeakingEngine`.

    The library keeps its state in globals, so only one instance per process is possible.
    """

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self._rate_hz = int(
            self._library.espeak_Initialize(
                _AUDIO_OUTPUT_SYNCHRONOUS, 500, str(espeakng_loader.get_data_path()).encode(), 0
            )
        )
        self._pieces: list[bytes] = []
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, text: str, speaker: str, rng: random.Random) -> Samples:
        """Return 16 kHz samples. The pace varies from 130 to 190 words per minute, as do pitch and pitch range."""
        self._pieces.clear()
        if self._library.espeak_SetVoiceByName(speaker.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {speaker}")
        for parameter, value in (
            (_RATE, rng.randint(130, 190)), (_PITCH, rng.randint(30, 70)), (_RANGE, rng.randint(30, 80)),
            (_WORDGAP, rng.choice((0, 0, 1, 2))),
        ):  # fmt: skip
            self._library.espeak_SetParameter(parameter, value, 0)
        said = text.encode() + b"\0"
        self._library.espeak_Synth(said, len(said), 0, 0, 0, _CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self._pieces), np.int16).astype(np.float32) / 32768.0
        return at_16k(samples, self._rate_hz)

    def _take(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(ctypes.string_at(samples, 2 * count))
        return 0
