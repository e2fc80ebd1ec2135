"""Whisper on CTranslate2, for one utterance at a time, tuned for low latency.

Theory of operation. Whisper was trained on 30 s windows, and the cost of its encoder depends on the window. The encoder
also runs on shorter windows: here on the utterance and 2 s of silence, which takes a tenth of the time. The price is
that the decoder no longer notices the end: having said everything, it may say it again. The number of tokens is
therefore bounded by the length of the audio, and a repetition is cut (`cut_repetition`). A hypothesis that the model
itself considers unlikely, or that ends in a loop of tokens ("$10.0.0.0.0.0", likely token by token), is recognised
again in a 10 s window. The measurements are in tests/bench/engine_latency.py.

Silence is never given to the model, which would answer it with "Thank you." or "you".
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component, EngineError
from pipelines.hearing.windowed import Recognition

_FRAME_SAMPLES = 160
_PADDING_S = 2.0
_SECOND_WINDOW_S = 10.0
_WINDOW_QUANTUM_S = 0.2
_UNLIKELY_LOGPROB = -0.5
_HOPELESS_LOGPROB = -1.2
# Score assigned to a hypothesis that ended in a loop: it deserves another window but is better than nothing.
_LOOPED_LOGPROB = -1.1
_NO_SPEECH = 0.6
_LONGEST_PIECE_S = 27.0
_TOKENS_PER_S = 5
_SPARE_TOKENS = 8
_LONGEST_LOOP_TOKENS = 6
_LOOP_ROUNDS = 5
# A voice on a telephone exceeds -45 dBFS in its loudest 100 ms, whereas line noise and hiss stay below.
_SILENCE_RMS = 32768.0 * 10 ** (-45 / 20)
_LEVEL_SAMPLES = 1600

Samples = NDArray[np.float32]


class WhisperRecognizer:
    """Recognises whole utterances; `recognize` is what `pipelines.hearing.windowed.WindowedTranscriber` takes.

    Args:
        model_dir: a CTranslate2 Whisper model (model.bin, config.json, tokenizer.json).
        threads: number of threads for one recognition.
        language: ISO 639-1 code; an English-only model ignores it.
    """

    def __init__(self, model_dir: Path, *, threads: int, language: str) -> None:
        self._model = ctranslate2.models.Whisper(
            str(model_dir), device="auto", compute_type="int8", intra_threads=threads, inter_threads=1
        )
        self._tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
        self._extract = FeatureExtractor(feature_size=_mel_bins(model_dir))
        self._end_of_text = self._token("<|endoftext|>")
        self._start = self._start_tokens(language)
        # There are only a few agents, and each has the same words for all its calls.
        self._prompt_for = lru_cache(maxsize=64)(self._prompt_tokens)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="whisper")

    def warm_up(self) -> None:
        """Recognise half a second of noise once, so that the first caller does not pay for allocation."""
        noise = np.random.default_rng(0).normal(0.0, 0.05, PCM_16K.rate_hz // 2).astype(np.float32)
        for window_s in (2.6, _SECOND_WINDOW_S):
            self._executor.submit(self._decode, noise, window_s, self._prompt_for("")).result()

    async def recognize(self, pcm_16k: bytes, expected_words: str = "") -> Recognition:
        """Return what is said in `pcm_16k`, with text "" for silence. Audio beyond 27 s is cut at quiet points.

        Calls run one after the other in a worker thread. Cancelling a waiting call drops it.

        Args:
            pcm_16k: the utterance.
            expected_words: words to expect (such as product names), given to the model as if just said; about 1 ms per
                token.

        Raises:
            EngineError: the model failed or the recogniser is closed.
        """
        samples = np.frombuffer(pcm_16k, "<i2", len(pcm_16k) // 2)
        if not has_sound(samples):
            return Recognition("", 0.0, 1.0)
        try:
            prompt = self._prompt_for(expected_words)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, self._recognize_all, samples, prompt)
        except Exception as error:
            raise EngineError(
                Component.TRANSCRIBER, type(error).__name__, retryable=isinstance(error, RuntimeError)
            ) from error

    def close(self) -> None:
        """Stop the worker thread after the current utterance. Does nothing on successive calls."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _recognize_all(self, samples: NDArray[np.int16], prompt: list[int]) -> Recognition:
        pieces = [self._recognize_piece(piece, prompt) for piece in split_at_quiet(samples) if has_sound(piece)]
        spoken = [piece for piece in pieces if piece.text]
        if not spoken:
            return Recognition("", 0.0, max((piece.no_speech for piece in pieces), default=1.0))
        return Recognition(
            " ".join(piece.text for piece in spoken),
            sum(piece.mean_logprob for piece in spoken) / len(spoken),
            min(piece.no_speech for piece in spoken),
        )

    def _recognize_piece(self, samples: NDArray[np.int16], prompt: list[int]) -> Recognition:
        audio = samples.astype(np.float32) / np.float32(32768.0)
        length_s = audio.size / PCM_16K.rate_hz
        heard = self._decode(audio, min(30.0, length_s + _PADDING_S), prompt)
        if heard.mean_logprob < _UNLIKELY_LOGPROB and length_s + _PADDING_S < _SECOND_WINDOW_S:
            again = self._decode(audio, _SECOND_WINDOW_S, prompt)
            heard = max(heard, again, key=lambda recognition: recognition.mean_logprob)
        is_noise = heard.mean_logprob < _HOPELESS_LOGPROB or (
            heard.no_speech > _NO_SPEECH and heard.mean_logprob < _UNLIKELY_LOGPROB
        )
        return Recognition("", heard.mean_logprob, heard.no_speech) if is_noise else heard

    def _decode(self, audio: Samples, window_s: float, prompt: list[int]) -> Recognition:
        window_s = math.ceil(window_s / _WINDOW_QUANTUM_S) * _WINDOW_QUANTUM_S
        padded = np.zeros(round(window_s * PCM_16K.rate_hz), np.float32)
        padded[: audio.size] = audio
        features = self._extract(padded, padding=0)[None, :, : padded.size // _FRAME_SAMPLES]
        budget = _SPARE_TOKENS + math.ceil(_TOKENS_PER_S * audio.size / PCM_16K.rate_hz)
        (result,) = self._model.generate(
            ctranslate2.StorageView.from_array(np.ascontiguousarray(features, np.float32)),
            [prompt],
            beam_size=1,
            # CTranslate2 limits the answer to half of `max_length` or to what the prompt leaves, whichever is less.
            max_length=min(448, max(2 * budget, budget + len(prompt))),
            return_scores=True,
            return_no_speech_prob=True,
        )
        said = [token for token in result.sequences_ids[0] if token < self._end_of_text]
        tokens = cut_loop(said)
        text = cut_repetition(self._tokenizer.decode(tokens).strip())
        score = float(result.scores[0])
        logprob = score if len(tokens) == len(said) else min(score, _LOOPED_LOGPROB)
        return Recognition(text, logprob, float(result.no_speech_prob))

    def _prompt_tokens(self, expected_words: str) -> list[int]:
        if not expected_words:
            return self._start
        words = self._tokenizer.encode(f" {expected_words.strip()}", add_special_tokens=False).ids
        return [self._token("<|startofprev|>"), *words[-100:], *self._start]

    def _start_tokens(self, language: str) -> list[int]:
        tokens = [self._token("<|startoftranscript|>")]
        if self._model.is_multilingual:
            tokens += [self._token(f"<|{language}|>"), self._token("<|transcribe|>")]
        return [*tokens, self._token("<|notimestamps|>")]

    def _token(self, name: str) -> int:
        token = self._tokenizer.token_to_id(name)
        if token is None:
            raise EngineError(Component.TRANSCRIBER, f"the tokenizer has no token {name}", retryable=False)
        return int(token)


def _mel_bins(model_dir: Path) -> int:
    path = model_dir / "preprocessor_config.json"
    settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return int(settings.get("feature_size", 80))


def has_sound(samples: NDArray[np.int16]) -> bool:
    """Return whether any 100 ms of the audio is louder than line noise."""
    return samples.size > 0 and bool(_levels(samples).max() > _SILENCE_RMS)


def _levels(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """Return the RMS of each 100 ms, the last of which may be incomplete."""
    padded = np.zeros(math.ceil(samples.size / _LEVEL_SAMPLES) * _LEVEL_SAMPLES)
    padded[: samples.size] = samples
    levels: NDArray[np.float64] = np.sqrt(np.mean(np.square(padded.reshape(-1, _LEVEL_SAMPLES)), axis=1))
    return levels


def split_at_quiet(samples: NDArray[np.int16], longest_s: float = _LONGEST_PIECE_S) -> list[NDArray[np.int16]]:
    """Cut audio into pieces of at most `longest_s`, each at the quietest 100 ms in the second half of the piece."""
    longest = int(longest_s * PCM_16K.rate_hz)
    pieces = []
    while samples.size > longest:
        half = longest // 2
        quietest = int(np.argmin(_levels(samples[half:longest])))
        cut = min(longest, half + quietest * _LEVEL_SAMPLES + _LEVEL_SAMPLES // 2)
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]


def cut_loop(tokens: list[int]) -> list[int]:
    """Drop a loop of one to six tokens, repeated at least five times, in which the decoder got stuck at the end.

    One round of the loop is kept. Speech does repeat ("no, no, no"), but not that often.
    """
    for period in range(1, _LONGEST_LOOP_TOKENS + 1):
        start = len(tokens) - period
        while start > 0 and tokens[start - 1] == tokens[start - 1 + period]:
            start -= 1
        if (len(tokens) - start) // period >= _LOOP_ROUNDS:
            return tokens[: start + period]
    return tokens


def cut_repetition(text: str) -> str:
    """Drop what a decoder repeats after it has said everything.

    Cuts where the rest of the text equals its beginning ("Where is it? Where is"), and where a sentence of two words or
    more directly follows itself. Case and punctuation are ignored, and the last word may be incomplete.
    """
    words = text.split()
    keys = [re.sub(r"[^\w]", "", word.lower()) for word in words]
    end = _restart(words, keys)
    if end is None:
        end = _echo(words, keys)
    return text if end is None else " ".join(words[:end])


def _restart(words: Sequence[str], keys: Sequence[str]) -> int | None:
    for start in range(1, len(keys)):
        again = len(keys) - start
        begins_alike = keys[start:-1] == keys[: again - 1] and keys[again - 1].startswith(keys[-1])
        if begins_alike and (words[start - 1][-1] in ".?!" or again >= 3):
            return start
    return None


def _echo(words: Sequence[str], keys: Sequence[str]) -> int | None:
    for start in range(2, len(keys) - 1):
        if words[start - 1][-1] not in ".?!":
            continue
        for length in range(2, min(start, len(keys) - start) + 1):
            if keys[start : start + length] == keys[start - length : start]:
                return start
    return None
