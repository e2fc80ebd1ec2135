"""Yields endless batches of distorted speech from NeMo manifests, with similar lengths within a batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.utils.data import IterableDataset

from ingest_jobs.speech.corpus.augment import Distortion
from ingest_jobs.speech.corpus.voices.voice import Samples
from pipelines.audio.pcm import PCM_16K

_POOL_BATCHES = 12
_EASY_S = 5.0
# How often on average an epoch contains a recording of a voice and of a kind of text. In full number, texts outside the
# company's domain would take a third of the time, and formant voices resemble callers the least.
_VOICE_SHARES = {"kokoro": 2.0, "espeak": 0.6}
_SOURCE_SHARES = {"words": 0.25, "documentation": 0.25}


@dataclass(frozen=True, slots=True)
class Recording:
    """One line of a manifest, with its path resolved."""

    path: Path
    seconds: float
    text: str
    voice: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Recordings with their texts.

    `audio` float32 [B, T], `samples` [B]; `targets` int64 [B, U], `pieces` [B]; `texts`.
    """

    audio: torch.Tensor
    samples: torch.Tensor
    targets: torch.Tensor
    pieces: torch.Tensor
    texts: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Length of the audio without padding, in seconds."""
        return float(self.samples.sum()) / PCM_16K.rate_hz


def read_recordings(*manifests: Path) -> list[Recording]:
    """Return the lines of manifests that this program wrote."""
    return [recording for manifest in manifests for recording in _read(manifest)]


def _read(manifest: Path) -> list[Recording]:
    lines = (json.loads(line) for line in manifest.read_text("utf-8").splitlines() if line.strip())
    return [
        Recording(
            manifest.parent / line["audio_filepath"], line["duration"], line["text"], line["voice"], line["source"]
        )
        for line in lines
    ]


def is_easy(recording: Recording) -> bool:
    """Return whether an untrained model can begin with this: one clear voice, a caller's sentence, not too long."""
    return recording.voice.startswith("piper") and recording.source == "grammar" and recording.seconds <= _EASY_S


def load(recording: Recording) -> Samples:
    """Return the samples of a recording (16 kHz mono)."""
    samples: Samples = soundfile.read(recording.path, dtype="float32")[0]
    return samples


def collate(audio: Sequence[Samples], texts: Sequence[str], tokenizer: Any) -> Batch:
    """Return the recordings padded to the longest."""
    ids = [torch.tensor(tokenizer.text_to_ids(text), dtype=torch.int64) for text in texts]
    pad = torch.nn.utils.rnn.pad_sequence
    return Batch(
        pad([torch.from_numpy(each) for each in audio], batch_first=True),
        torch.tensor([each.size for each in audio]),
        pad(ids, batch_first=True),
        torch.tensor([each.numel() for each in ids]),
        tuple(texts),
    )


class DistortedBatches(IterableDataset[Batch]):
    """Yields batches for ever, with each recording once per epoch. Manifests are read again for every epoch.

    Args:
        batch_seconds: the most audio in a batch before distortion.
        difficulty: shared float64 [2], which the training changes as it goes: 1.0 while the next epoch is of the
            easiest speech only (`is_easy`), and the share of utterances that are distorted (all others get silence
            around them and another level only).
    """

    def __init__(
        self, manifests: Sequence[Path], tokenizer: Any, batch_seconds: float, difficulty: torch.Tensor, seed: int
    ) -> None:
        super().__init__()
        self._manifests, self._tokenizer = tuple(manifests), tokenizer
        self._batch_seconds, self._difficulty, self._seed = batch_seconds, difficulty, seed
        self._full = Distortion()
        self._mild = Distortion(
            pace=(0.95, 1.05), noise_share=0.0, babble_share=0.0, room_share=0.0, telephone_share=0.0
        )

    def __iter__(self) -> Iterator[Batch]:
        rng = np.random.default_rng(self._seed)
        while True:
            every = read_recordings(*self._manifests)
            easy = [each for each in every if is_easy(each)] if self._difficulty[0] else []
            recordings = easy or _drawn(every, rng)
            for group in grouped(recordings, self._batch_seconds, rng):
                yield self._batch(group, recordings, rng)

    def _batch(self, group: Sequence[Recording], recordings: Sequence[Recording], rng: np.random.Generator) -> Batch:
        def other() -> Samples:
            return load(recordings[int(rng.integers(len(recordings)))])

        audio = []
        for recording in group:
            distortion = self._full if rng.random() < float(self._difficulty[1]) else self._mild
            audio.append(distortion.apply(load(recording), rng, other).astype(np.float32))
        return collate(audio, [recording.text for recording in group], self._tokenizer)


def _drawn(recordings: Sequence[Recording], rng: np.random.Generator) -> list[Recording]:
    """Return the recordings of an epoch, each as often on average as its voice and text are wanted."""
    drawn = []
    for recording in recordings:
        times = _VOICE_SHARES.get(recording.voice.split(" ")[0], 1.0) * _SOURCE_SHARES.get(recording.source, 1.0)
        drawn += [recording] * int(times + rng.random())
    return drawn or list(recordings)


def grouped(
    recordings: Sequence[Recording], batch_seconds: float, rng: np.random.Generator
) -> Iterator[list[Recording]]:
    """Yield groups of similar length, sorted within pools, with pools and groups in random order."""
    order = [recordings[index] for index in rng.permutation(len(recordings))]
    mean_s = sum(each.seconds for each in order) / max(1, len(order))
    pool = max(1, round(_POOL_BATCHES * batch_seconds / max(0.1, mean_s)))
    for start in range(0, len(order), pool):
        groups: list[list[Recording]] = [[]]
        for recording in sorted(order[start : start + pool], key=lambda each: each.seconds):
            # The padded length counts: the longest so far times the number.
            if groups[-1] and recording.seconds * (len(groups[-1]) + 1) > batch_seconds:
                groups.append([])
            groups[-1].append(recording)
        yield from (groups[index] for index in rng.permutation(len(groups)))
