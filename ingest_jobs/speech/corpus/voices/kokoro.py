"""Kokoro-82M (int8 ONNX), the most natural of the small voices, with many speakers and blends of two of them.

A speaker is a float32 table [510, 1, 256] with one style for each length of the phoneme sequence. Styles may be
blended; "af_heart+am_echo" is the mean of the two. Phonemes are espeak-ng's, rewritten into the alphabet of misaki,
which the model was trained on (https://github.com/hexgrad/misaki, `espeak.py`).
"""

from __future__ import annotations

import random
import re
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from piper.phonemize_espeak import EspeakPhonemizer

from ingest_jobs.speech.corpus.voices.voice import Samples, at_16k
from pipelines.audio.pcm import PCM_24K

_MAX_PHONEMES = 500
# The part of the published model's vocabulary (config.json) that English needs.
_IDS = {
    ";": 1, ":": 2, ",": 3, ".": 4, "!": 5, "?": 6, " ": 16, "A": 24, "I": 25, "O": 31, "Q": 33, "W": 39, "Y": 41,
    "ᵊ": 42, "a": 43, "b": 44, "c": 45, "d": 46, "e": 47, "f": 48, "h": 50, "i": 51, "j": 52, "k": 53, "l": 54,
    "m": 55, "n": 56, "o": 57, "p": 58, "q": 59, "r": 60, "s": 61, "t": 62, "u": 63, "v": 64, "w": 65, "x": 66,
    "y": 67, "z": 68, "ɑ": 69, "ɐ": 70, "ɒ": 71, "æ": 72, "β": 75, "ɔ": 76, "ð": 81, "ʤ": 82, "ə": 83, "ɚ": 85,
    "ɛ": 86, "ɜ": 87, "ɟ": 90, "ɡ": 92, "ɪ": 102, "ŋ": 112, "θ": 119, "ɹ": 123, "ɾ": 125, "ʃ": 131, "ʧ": 133,
    "ʊ": 135, "ʌ": 138, "ʒ": 147, "ʔ": 148, "ˈ": 156, "ˌ": 157, "ː": 158, "ᵻ": 177,
}  # fmt: skip
_REWRITES = (
    ("tʃ", "ʧ"), ("dʒ", "ʤ"), ("eɪ", "A"), ("aɪ", "I"), ("aʊ", "W"), ("ɔɪ", "Y"), ("oʊ", "O"), ("əʊ", "Q"),
    ("ɚ", "əɹ"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("ʲ", "j"),
    ("e", "A"), ("o", "ɔ"),
)  # fmt: skip
_AMERICAN = (("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ː", ""))
_BRITISH = (("iə", "ɪə"),)
_SYLLABIC = re.compile("(\\S)\u0329")


class KokoroVoices:
    """Implements `SpeakingEngine`. A speaker whose name begins with "b" is British.

    Args:
        model_path: the ONNX file. voices_dir: holds NAME.bin of each speaker.
    """

    def __init__(self, model_path: Path, voices_dir: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])
        self._voices_dir = voices_dir
        self._styles: dict[str, NDArray[np.float32]] = {}
        self._phonemizer = EspeakPhonemizer()

    def speak(self, text: str, speaker: str, rng: random.Random) -> Samples:
        """Return 16 kHz samples. The pace varies from 0.85 to 1.2 of the speaker's own."""
        ids = [_IDS[phoneme] for phoneme in self.phonemes(text, is_british=speaker[0] == "b") if phoneme in _IDS]
        ids = ids[:_MAX_PHONEMES]
        if not ids:
            return np.zeros(0, np.float32)
        inputs = {
            self._session.get_inputs()[0].name: np.array([[0, *ids, 0]], np.int64),
            "style": self._style(speaker)[len(ids)],
            "speed": np.array([rng.uniform(0.85, 1.2)], np.float32),
        }
        (audio, *_) = self._session.run(None, inputs)
        return at_16k(np.asarray(audio, np.float32).ravel(), PCM_24K.rate_hz)

    def phonemes(self, text: str, *, is_british: bool) -> str:
        """Return the phonemes in the model's alphabet."""
        sentences = self._phonemizer.phonemize("en-gb-x-rp" if is_british else "en-us", text)
        said = _SYLLABIC.sub(r"ᵊ\1", "".join("".join(sentence) for sentence in sentences))
        for old, new in (*_REWRITES, *(_BRITISH if is_british else _AMERICAN)):
            said = said.replace(old, new)
        return said

    def _style(self, speaker: str) -> NDArray[np.float32]:
        if speaker not in self._styles:
            tables = [np.fromfile(self._voices_dir / f"{name}.bin", np.float32) for name in speaker.split("+")]
            self._styles[speaker] = np.mean(tables, axis=0).reshape(-1, 1, 256).astype(np.float32)
        return self._styles[speaker]
