"""Piper with noise and pace that vary between utterances, unlike in the product's own engine."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import onnxruntime
from piper.phonemize_espeak import EspeakPhonemizer

from ingest_jobs.speech.corpus.voices.voice import Samples, at_16k


class PiperVoice:
    """Implements `SpeakingEngine` with one voice, whichever speaker is named.

    Args:
        model_path: the voice's .onnx file, with its configuration beside it as .onnx.json.
    """

    def __init__(self, model_path: Path, *, threads: int = 1) -> None:
        config = json.loads(Path(f"{model_path}.json").read_text("utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(model_path), options, providers=["CPUExecutionProvider"])
        self._rate_hz = int(config["audio"]["sample_rate"])
        self._ids: dict[str, list[int]] = config["phoneme_id_map"]
        self._espeak_voice = str(config["espeak"]["voice"])
        self._phonemizer = EspeakPhonemizer()

    def speak(self, text: str, speaker: str, rng: random.Random) -> Samples:  # noqa: ARG002 - one voice only
        """Return 16 kHz samples, with pace 0.8 to 1.3, latent noise 0.4 to 0.9 and duration noise 0.5 to 1.1."""
        sentences = self._phonemizer.phonemize(self._espeak_voice, text)
        pad, ids = self._ids["_"], []
        for phoneme in (each for sentence in sentences for each in sentence):
            if phoneme in self._ids:
                ids += [*self._ids[phoneme], *pad]
        if not ids:
            return np.zeros(0, np.float32)
        ids = [*self._ids["^"], *pad, *ids, *self._ids["$"]]
        scales = [rng.uniform(0.4, 0.9), rng.uniform(0.8, 1.3), rng.uniform(0.5, 1.1)]
        inputs = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array(scales, np.float32),
        }
        (audio, *_) = self._session.run(None, inputs)
        return at_16k(np.asarray(audio, np.float32).ravel(), self._rate_hz)
