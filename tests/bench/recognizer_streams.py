"""How many callers one core recognises at once with a streaming NeMo model (docs/speech-recognition.md, ADR 0019).

    python -m tests.bench.recognizer_streams --model FILE.nemo [--language-model FILE.lm] [--speech MANIFEST]
        [--chunk-ms 160] [--json OUT.json]

1. CPU time of one step by its number of streams: NeMo's pipeline, NeMo's encoder step alone, and ours.
2. Callers in real time, more and more: each sends 20 ms of sound every 20 ms and asks for a final text every 4 s. The
   recogniser's thread has a core of its own; lag is from the moment when a chunk is complete to its result.
3. The same with one stream a step; and twice as many callers as are admitted.

Run it on an otherwise idle machine; lags are wall times. It takes about six minutes. Callers say the recordings of a
NeMo manifest; noise without one, which gives a search with a language model less to do than speech does.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cluster.bench.figures import spread
from deployments.engines.nemo import NemoSettings
from deployments.engines.nemo.recognizer import make_stepper
from deployments.engines.nemo.stepper import NemoStepper, StepperLimits
from deployments.engines.streaming.chunk_stepper import SlotAudio
from deployments.engines.streaming.loop import Link, LoopLimits, StreamLoop
from ingest_jobs.speech.evaluation.measuring import load_recordings
from ingest_jobs.speech.evaluation.recordings import read_manifest
from pipelines.hearing.link import FinishUtterance, OpenStream, PushAudio, StreamHeard, StreamRefused, StreamResult

FRAME_MS = 20
FRAME_BYTES = FRAME_MS * 32
UTTERANCE_FRAMES = 200
SPOKEN = 128
CALLERS = (1, 8, 16, 24, 30, 36, 42, 48, 64, 80, 96, 128)
BATCHES = (1, 2, 4, 8, 16, 32, 48, 64)
ROUNDS = 12
NEVER_MS = 10**9


@dataclass(frozen=True)
class Run:
    """Callers in real time for some seconds."""

    callers: int
    refused: int
    lag_p50_ms: float
    lag_p95_ms: float
    lag_p99_ms: float
    finish_p50_ms: float
    finish_p95_ms: float
    core_share: float
    cpu_ms_per_caller_s: float
    streams_a_step: float


def sound(seconds: float) -> bytes:
    """Return noise that swells and falls four times a second, as syllables do."""
    rng = np.random.default_rng(1)
    swell = np.abs(np.sin(np.arange(round(seconds * 16_000)) * (2 * np.pi * 2 / 16_000)))
    return bytes((rng.normal(0, 2500, swell.size) * swell).clip(-32768, 32767).astype("<i2").tobytes())


SOUND = sound(4.0)


def spoken(manifest: Path) -> list[bytes]:
    """Return the recordings of a manifest, each brought to the length of an utterance with silence or a cut."""
    recordings, _ = read_manifest(manifest)
    loaded, _ = load_recordings(recordings[:SPOKEN])
    size = UTTERANCE_FRAMES * FRAME_BYTES // 2
    return [bytes(np.pad(pcm[:size], (0, max(0, size - pcm.size))).astype("<i2").tobytes()) for _, pcm in loaded]


class Callers:
    """Sends the sound of many callers at its pace, and times what comes back.

    Args:
        loop: the recogniser.
        count: callers; each begins at a random frame, so that their chunks do not end together.
        sounds: what they say, one after the other.
    """

    def __init__(self, loop: StreamLoop, count: int, sounds: Sequence[bytes]) -> None:
        self._sounds = sounds
        self.refused: set[int] = set()
        self.finish_ms: list[float] = []
        self._asked_s: dict[tuple[int, int], float] = {}
        self._count = count
        self._link: Link = loop.open_link(self._hear)
        rng = np.random.default_rng(count)
        self._offsets = rng.integers(0, UTTERANCE_FRAMES, count).tolist()

    def run(self, seconds: float, began: Callable[[], None]) -> None:
        """Call for `seconds`, after 4 s in which everybody joins; `began` is called between the two."""
        self._link.send([OpenStream(caller) for caller in range(self._count)])
        start = time.perf_counter()
        lead = 4000 // FRAME_MS
        for frame in range(lead + int(seconds * 1000 / FRAME_MS)):
            if frame == lead:
                self.finish_ms.clear()
                began()
            self._send(frame)
            pause = start + (frame + 1) * FRAME_MS / 1000 - time.perf_counter()
            time.sleep(max(0.0, pause))

    def close(self) -> None:
        self._link.close()

    def _send(self, frame: int) -> None:
        commands: list[Any] = []
        for caller, offset in enumerate(self._offsets):
            if caller in self.refused:
                continue
            at = (frame + offset) % UTTERANCE_FRAMES
            sound_of_turn = self._sounds[(caller + (frame + offset) // UTTERANCE_FRAMES) % len(self._sounds)]
            commands.append(PushAudio(caller, sound_of_turn[at * FRAME_BYTES : (at + 1) * FRAME_BYTES]))
            if at == UTTERANCE_FRAMES - 1:
                self._asked_s[(caller, frame)] = time.perf_counter()
                commands.append(FinishUtterance(caller, frame))
        self._link.send(commands)

    def _hear(self, results: list[StreamResult]) -> None:
        for result in results:
            if isinstance(result, StreamRefused):
                self.refused.add(result.stream)
            elif isinstance(result, StreamHeard) and result.finish is not None:
                asked_s = self._asked_s.pop((result.stream, result.finish), None)
                if asked_s is not None:
                    self.finish_ms.append((time.perf_counter() - asked_s) * 1000)


@contextmanager
def looping(stepper: NemoStepper, limits: LoopLimits, core: int) -> Iterator[StreamLoop]:
    """Run a stepper, which survives, in a loop whose thread has a core of its own."""

    def make() -> NemoStepper:
        os.sched_setaffinity(0, {core})  # of this thread alone
        return stepper

    close, stepper.close = stepper.close, lambda: None  # type: ignore[method-assign]
    loop = StreamLoop(make, limits)
    try:
        yield loop
    finally:
        loop.close()
        stepper.close = close  # type: ignore[method-assign]


def thread_seconds(loop: StreamLoop) -> float:
    """Return the CPU time of the loop's thread so far."""
    told: list[float] = []
    done = threading.Event()
    loop.post(lambda: (told.append(time.thread_time()), done.set())[1])
    done.wait(60)
    return told[0]


def call(
    stepper: NemoStepper, callers: int, seconds: float, *, limits: LoopLimits, core: int, sounds: Sequence[bytes]
) -> Run:
    with looping(stepper, limits, core) as loop:
        crowd = Callers(loop, callers, sounds)
        marks: list[tuple[float, float, float, float]] = []

        def mark() -> None:
            stats = loop.stats()
            marks.append((time.perf_counter(), thread_seconds(loop), stats["chunks"], stats["ticks"]))

        crowd.run(seconds, mark)
        stats = loop.stats()
        mark()
        crowd.close()
    (wall_0, cpu_0, chunks_0, ticks_0), (wall_1, cpu_1, chunks_1, ticks_1) = marks
    share = (cpu_1 - cpu_0) / (wall_1 - wall_0)
    finish = spread(crowd.finish_ms)
    return Run(
        callers=callers,
        refused=len(crowd.refused),
        lag_p50_ms=stats["tick_lag_p50_ms"],
        lag_p95_ms=stats["tick_lag_p95_ms"],
        lag_p99_ms=stats["tick_lag_p99_ms"],
        finish_p50_ms=finish.p50 if finish else 0.0,
        finish_p95_ms=finish.p95 if finish else 0.0,
        core_share=round(share, 3),
        cpu_ms_per_caller_s=round(1000 * share / max(1, callers - len(crowd.refused)), 2),
        streams_a_step=round((chunks_1 - chunks_0) / max(1.0, ticks_1 - ticks_0), 2),
    )


def cpu_ms(step: Callable[[], object]) -> float:
    """Return the CPU time of a step, the median of some rounds after two in which it gets warm."""
    times = []
    for _ in range(ROUNDS + 2):
        began = time.thread_time()
        step()
        times.append((time.thread_time() - began) * 1000)
    return round(float(np.median(times[2:])), 2)


def our_steps(stepper: NemoStepper) -> dict[int, float]:
    took = {}
    for size in BATCHES:
        for slot in range(size):
            stepper.open(slot, "")
        chunk = SOUND[: stepper.chunk_bytes]
        stepper.step([SlotAudio(slot, SOUND[: stepper.first_bytes]) for slot in range(size)])
        audio = [SlotAudio(slot, chunk) for slot in range(size)]
        took[size] = cpu_ms(lambda audio=audio: stepper.step(audio))  # type: ignore[misc]
        for slot in range(size):
            stepper.free(slot)
    return took


def nemo_encoder_steps(model: Path, chunk_ms: int) -> dict[int, float]:
    """Time NeMo's cache-aware encoder step alone: no features, no decoding, no text."""
    import torch
    from nemo.collections.asr.models import ASRModel

    encoder = ASRModel.restore_from(str(model), map_location="cpu").eval().encoder
    encoder.set_default_att_context_size([70, chunk_ms // 80 - 1])
    took = {}
    for size in BATCHES:
        caches = encoder.get_initial_cache_state(batch_size=size)
        signal = torch.randn(size, encoder._feat_in, 9 + chunk_ms // 10)
        lengths = torch.full((size,), signal.shape[2])

        def step(signal: Any = signal, lengths: Any = lengths, caches: Any = caches) -> None:
            with torch.inference_mode():
                encoder.cache_aware_stream_step(signal, lengths, *caches, drop_extra_pre_encoded=2)

        took[size] = cpu_ms(step)
    return took


def nemo_pipeline_steps(model: Path, chunk_ms: int) -> dict[int, float]:
    """Time `transcribe_step` of NeMo's own cache-aware CTC pipeline."""
    import torch
    from nemo.collections.asr.inference.factory.pipeline_builder import PipelineBuilder
    from nemo.collections.asr.inference.streaming.framing.request import Frame
    from nemo.collections.asr.inference.streaming.framing.request_options import ASRRequestOptions
    from omegaconf import OmegaConf

    took = {}
    samples = torch.from_numpy(np.frombuffer(SOUND, "<i2").astype(np.float32) / 32768)[: chunk_ms * 16]
    for size in BATCHES:
        pipeline = PipelineBuilder.build_pipeline(OmegaConf.create(pipeline_config(model, chunk_ms, size)))
        pipeline.open_session()
        first = [
            Frame(samples=samples, stream_id=i, is_first=True, is_last=False, options=ASRRequestOptions())
            for i in range(size)
        ]
        pipeline.transcribe_step(first)
        later = [Frame(samples=samples, stream_id=i, is_first=False, is_last=False) for i in range(size)]
        took[size] = cpu_ms(lambda p=pipeline, f=later: p.transcribe_step(f))  # type: ignore[misc]
        pipeline.close_session()
    return took


def pipeline_config(model: Path, chunk_ms: int, size: int) -> dict[str, Any]:
    """Return what NeMo's examples set for a cache-aware CTC model, with everything optional off."""
    return {
        "pipeline_type": "cache_aware",
        "asr_decoding_type": "ctc",
        "log_level": 40,
        "matmul_precision": "high",
        "lang": "en",
        "enable_itn": False,
        "itn": {"batch_size": 1, "n_jobs": 1, "left_padding_size": 4},
        "enable_nmt": False,
        "asr_output_granularity": "segment",
        "return_tail_result": False,
        "asr": {
            "model_name": str(model), "device": "cpu", "device_id": 0, "compute_dtype": "float32", "use_amp": False,
        },
        "streaming": {
            "sample_rate": 16000, "batch_size": size, "num_slots": size, "use_cache": True, "use_feat_cache": True,
            "att_context_size": [70, chunk_ms // 80 - 1], "chunk_size_in_secs": None, "request_type": "frame",
            "word_boundary_tolerance": 4,
        },
        "endpointing": {"stop_history_eou": 800, "residue_tokens_at_end": 2},
        "confidence": {
            "exclude_blank": True, "aggregation": "mean",
            "method_cfg": {"name": "max_prob", "entropy_type": "tsallis", "alpha": 0.5, "entropy_norm": "exp"},
        },
    }  # fmt: skip


def load(options: argparse.Namespace) -> NemoStepper:
    limits = StepperLimits(slots=max(CALLERS), max_batch=max(BATCHES))
    language_model = str(options.language_model or "auto")
    settings = NemoSettings(chunk_ms=options.chunk_ms, device="cpu", threads=1, language_model=language_model)
    return make_stepper(options.model, settings, limits)


def measure(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    task = progress.add_task("loading", total=4 + len(CALLERS))
    stepper = load(options)
    progress.update(task, description="steps, ours", advance=1)
    steps = {"ours": our_steps(stepper)}
    progress.update(task, description="steps, NeMo's encoder", advance=1)
    steps["nemo_encoder"] = nemo_encoder_steps(options.model, options.chunk_ms)
    progress.update(task, description="steps, NeMo's pipeline", advance=1)
    steps["nemo_pipeline"] = nemo_pipeline_steps(options.model, options.chunk_ms)
    open_to_all = LoopLimits(max_streams=stepper.slots, late_ms=NEVER_MS, gather_ms=options.gather_ms)
    curve: list[Run] = []
    common: dict[str, Any] = {"core": options.core, "sounds": spoken(options.speech) if options.speech else [SOUND]}
    for callers in CALLERS:
        progress.update(task, description=f"{callers} callers", advance=1)
        curve.append(call(stepper, callers, options.seconds, limits=open_to_all, **common))
        if curve[-1].lag_p50_ms > 2 * options.chunk_ms:
            break
    alone = at_one_stream_a_step(stepper, options, {"limits": open_to_all, **common})
    progress.update(task, description="twice as many callers as are admitted", advance=1)
    measured = LoopLimits(gather_ms=options.gather_ms, load_share=options.load_share)
    with looping(stepper, measured, options.core) as loop:
        loop.warm_up()
        admitted = int(loop.stats()["slots"])
    kept = LoopLimits(max_streams=admitted, gather_ms=options.gather_ms)
    crowded = call(stepper, 2 * admitted, options.seconds, limits=kept, **common)
    return {
        "model": options.model.name,
        "language_model": options.language_model.name if options.language_model else None,
        "speech": options.speech.name if options.speech else None,
        "chunk_ms": options.chunk_ms,
        "gather_ms": options.gather_ms,
        "load_average": os.getloadavg(),
        "cpu_ms_of_a_step": steps,
        "curve": [asdict(run) for run in curve],
        "one_stream_a_step": [asdict(run) for run in alone],
        "admitted": admitted,
        "twice_the_admitted": asdict(crowded),
    }


def at_one_stream_a_step(stepper: NemoStepper, options: argparse.Namespace, common: dict[str, Any]) -> list[Run]:
    """Run callers whose chunks are stepped one by one, until that collapses."""
    usual, stepper.max_batch = stepper.max_batch, 1
    runs = []
    for callers in (1, 4, 8, 12, 16):
        runs.append(call(stepper, callers, options.seconds, **common))
        if runs[-1].lag_p50_ms > 2 * options.chunk_ms:
            break
    stepper.max_batch = usual
    return runs


def show(figures: dict[str, Any], console: Console) -> None:
    steps = Table("streams", *figures["cpu_ms_of_a_step"], title="CPU ms of a step")
    for size in BATCHES:
        steps.add_row(str(size), *(f"{took[size]:.1f}" for took in figures["cpu_ms_of_a_step"].values()))
    console.print(steps)
    titles = {"curve": "callers in real time", "one_stream_a_step": "one stream a step"}
    for key, title in titles.items():
        table = Table(*figures[key][0], title=title)
        for run in figures[key]:
            table.add_row(*(str(value) for value in run.values()))
        console.print(table)
    console.print(f"admitted: {figures['admitted']}; twice as many: {figures['twice_the_admitted']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a cache-aware CTC model, .nemo")
    parser.add_argument("--language-model", type=Path, help="of the model, .lm or .arpa")
    parser.add_argument("--speech", type=Path, help="NeMo manifest of what callers say; noise without")
    parser.add_argument("--chunk-ms", type=int, default=160)
    parser.add_argument("--gather-ms", type=int, default=LoopLimits().gather_ms)
    parser.add_argument("--load-share", type=float, default=LoopLimits().load_share)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run")
    parser.add_argument("--core", type=int, default=1, help="for the recogniser's thread")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    console = Console(width=140)
    with Progress(console=console) as progress:
        figures = measure(options, progress)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    show(figures, console)


if __name__ == "__main__":
    main()
