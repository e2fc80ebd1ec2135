"""Synthesizes a planned corpus with several processes into 16 kHz WAV files and NeMo manifests.

Layout of the folder:

    train.jsonl dev.jsonl                 clean; the training distorts them anew each time it hears them
    test.jsonl general.jsonl              clean, and the same recordings in the conditions of `CONDITIONS`
    audio/SPLIT/KEY.wav                   16-bit mono

Existing files are not made again, so an interrupted run resumes where it stopped. The training manifest is updated
every `_MANIFEST_EVERY` utterances, so that a training may begin with the first part.
"""

from __future__ import annotations

import multiprocessing
import random
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ingest_jobs.speech.corpus.augment import add_noise, coloured_noise, room, telephone
from ingest_jobs.speech.corpus.manifest import ManifestLine, write_manifest
from ingest_jobs.speech.corpus.plan import PlannedUtterance, as_read
from ingest_jobs.speech.corpus.voices.voice import Samples, SpeakingEngine, trimmed
from pipelines.audio.pcm import PCM_16K

# Splits that are stored in every condition.
_TESTED = ("test", "general")
CONDITIONS = ("clean", "telephone", "noise", "room")
NOISE_SNR_DB = 10.0
_MANIFEST_EVERY = 250
_SPEECH_RMS = 0.07
_MIN_S, _MAX_S = 0.25, 16.0
_LEAD_S, _TAIL_S = 0.2, 0.4


@dataclass(frozen=True, slots=True)
class VoiceFiles:
    """The files with the voices' weights.

    Attributes:
        piper_model: the .onnx of the Piper voice.
        kokoro_model: the .onnx; `kokoro_voices`: folder of NAME.bin.
    """

    piper_model: Path
    kokoro_model: Path
    kokoro_voices: Path


class Voices:
    """The engines of one process, each loaded on first use."""

    def __init__(self, files: VoiceFiles) -> None:
        self._files = files
        self._engines: dict[str, SpeakingEngine] = {}

    def speak(self, planned: PlannedUtterance) -> Samples:
        """Return trimmed 16 kHz speech at -23 dBFS, which is empty if the voice said nothing usable."""
        if planned.engine not in self._engines:
            self._engines[planned.engine] = self._load(planned.engine)
        rng = random.Random(planned.key)
        samples = trimmed(self._engines[planned.engine].speak(as_read(planned.text), planned.speaker, rng))
        if not _MIN_S * PCM_16K.rate_hz <= samples.size <= _MAX_S * PCM_16K.rate_hz:
            return samples[:0]
        levelled: Samples = samples * np.float32(_SPEECH_RMS / np.sqrt(np.mean(np.square(samples))))
        return levelled / max(1.0, float(np.abs(levelled).max()))

    def _load(self, engine: str) -> SpeakingEngine:
        if engine == "piper":
            from ingest_jobs.speech.corpus.voices.piper import PiperVoice

            return PiperVoice(self._files.piper_model)
        if engine == "kokoro":
            from ingest_jobs.speech.corpus.voices.kokoro import KokoroVoices

            return KokoroVoices(self._files.kokoro_model, self._files.kokoro_voices)
        if engine == "espeak":
            from ingest_jobs.speech.corpus.voices.espeak import EspeakVoices

            return EspeakVoices()
        from ingest_jobs.speech.corpus.voices.pico import PicoVoices

        return PicoVoices()


_voices: Voices | None = None


def _start(files: VoiceFiles) -> None:
    global _voices
    _voices = Voices(files)


def _make(job: tuple[PlannedUtterance, Path]) -> list[ManifestLine]:
    planned, folder = job
    assert _voices is not None
    path = folder / "audio" / planned.split / f"{planned.key}.wav"
    if path.exists():
        samples = soundfile.read(path, dtype="float32")[0]
    else:
        samples = _voices.speak(planned)
        if not samples.size:
            return []
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        soundfile.write(part, samples, PCM_16K.rate_hz, subtype="PCM_16", format="WAV")
        part.replace(path)
    if planned.split not in _TESTED:
        return [_line(planned, path, folder, samples)]
    return [_condition(planned, name, samples, folder) for name in CONDITIONS]


def _condition(planned: PlannedUtterance, name: str, samples: Samples, folder: Path) -> ManifestLine:
    """Write the recording in one condition, with silence around it, and return its line."""
    rng = np.random.default_rng(zlib.crc32(f"{planned.key} {name}".encode()))
    padded = np.pad(samples, (int(_LEAD_S * PCM_16K.rate_hz), int(_TAIL_S * PCM_16K.rate_hz)))
    if name == "telephone":
        padded = telephone(padded)
    elif name == "room":
        padded = room(padded, rng, reverberation_s=0.45)
    elif name == "noise":
        hum = coloured_noise(padded.size, rng, slope=float(rng.uniform(0.3, 1.6)))
        padded = add_noise(padded, hum, NOISE_SNR_DB)
    path = folder / "audio" / planned.split / name / f"{planned.key}.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(padded, -1, 1), PCM_16K.rate_hz, subtype="PCM_16")
    line = _line(planned, path, folder, padded)
    noise = {"noise": f"{NOISE_SNR_DB:g} dB", "room": "room"}.get(name, "none")
    return ManifestLine(
        line.audio_filepath, line.duration, line.text, line.voice, line.voice_seen, line.source, noise,
        "8k mu-law" if name == "telephone" else "16k",
    )  # fmt: skip


def _line(planned: PlannedUtterance, path: Path, folder: Path, samples: Samples) -> ManifestLine:
    return ManifestLine(
        str(path.relative_to(folder)), round(samples.size / PCM_16K.rate_hz, 3), planned.text,
        f"{planned.engine} {planned.speaker}", planned.is_seen_voice, planned.source,
    )  # fmt: skip


def make_corpus(
    plan: Sequence[PlannedUtterance],
    files: VoiceFiles,
    folder: Path,
    *,
    processes: int,
    on_progress: Callable[[int, float], None],
) -> dict[str, float]:
    """Synthesize missing recordings, write the manifests, and return the seconds of speech by split.

    Args:
        on_progress: called with (utterances done, seconds of speech so far).
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[ManifestLine]] = {"train": [], "dev": [], "test": [], "general": []}
    jobs = [(planned, folder) for planned in plan]
    # Processes are spawned, because espeak and the ONNX runtime do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(processes, _start, (files,)) as pool:
        for done, (planned, made) in enumerate(_in_order(pool.imap(_make, jobs, chunksize=4), plan), start=1):
            lines[planned.split] += made
            if done % _MANIFEST_EVERY == 0:
                _write(lines, folder)
            on_progress(done, sum(line.duration for line in made))
    heard = {line.text for line in lines["train"]}
    # A sentence of the company may also have been drawn for the test.
    lines["test"] = [line for line in lines["test"] if line.text not in heard]
    _write(lines, folder, is_last=True)
    return {split: sum(line.duration for line in made) for split, made in lines.items()}


def _in_order(
    made: Iterable[list[ManifestLine]], plan: Sequence[PlannedUtterance]
) -> Iterable[tuple[PlannedUtterance, list[ManifestLine]]]:
    return zip(plan, made, strict=True)


def _write(lines: dict[str, list[ManifestLine]], folder: Path, *, is_last: bool = False) -> None:
    """Write the manifests.

    Before the last time, only growing ones are written, since a training may be reading them.
    """
    for split, made in lines.items():
        path = folder / f"{split}.jsonl"
        if is_last or not path.exists() or len(made) > len(path.read_text("utf-8").splitlines()):
            write_manifest(path, made)
