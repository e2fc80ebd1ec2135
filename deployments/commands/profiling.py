"""Measures one engine on this machine in a separate process: its memory, and its latency under load.

    python -m deployments.commands.profiling REQUEST.json        (`voxray profile` writes it and reads the answers)

It prints JSON lines: `{"step": ..., "of": ...}` as it proceeds, and finally `{"profile": {...}}`. The engine is the one
named by the configuration, created as a replica creates it; on a machine with a GPU it runs there. First the highest
sustained rate is found, with workers that ask again as soon as they are answered. Then latency is measured at shares of
that rate, with requests that arrive at random, as those of callers do.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psutil

from autoscaling.engine_profile import EngineProfile, LoadPoint, dump_profile
from cluster.config.parts import PoolPart
from cluster.processor import this_processor
from deployments.stage_link.local import WholeUtterances
from pipelines.audio.pcm import PCM_16K
from pipelines.audio.wav import pcm_16k_from_wav
from pipelines.errors import Component
from pipelines.ports import ChatMessage, GenerationRequest, SpeechRequest

WORKERS = (1, 4, 16)
LOADS = (0.25, 0.5, 0.75, 0.9, 1.0)
_LEAST_REQUESTS = 20
_LONGEST_STRETCH = 4
SPOKEN = "How many days do I have to return something I bought?"
_CLAUSE = "Regular shipping is free from fifty dollars on, and takes three to five days."
_PASSAGE = "Returns: unused items can be returned within 30 days of delivery, with the receipt. " * 6
_TURN_S = 10.0
_VOICED_SHARE = 0.4
# Answers started per turn, including dropped drafts, and clauses per answer.
_ANSWERS_A_TURN, _CLAUSES_AN_ANSWER = 1.4, 2.2

# Asks once and returns the moment of the first output.
Ask = Callable[[int], Awaitable[float]]


@dataclass(frozen=True, slots=True)
class Subject:
    """An engine under measurement."""

    engine: str
    ask: Ask
    requests_per_call_s: float
    remark: str = ""


@dataclass(frozen=True, slots=True)
class MeasuringRequest:
    """The contents of the request file.

    Attributes:
        part: the engine's pool, as a replica of the pool would receive it.
        recording: WAV file of a spoken question, for recognisers.
        seconds: duration of the measurement at each load.
        max_tokens: the most tokens of an answer.
        partial_interval_ms: amount of new audio after which an utterance is recognised again, for engines that
            recognise whole utterances.
    """

    part: PoolPart
    recording: Path
    seconds: float
    max_tokens: int
    partial_interval_ms: int

    @classmethod
    def read(cls, file: Path) -> MeasuringRequest:
        """Read a request file."""
        told = json.loads(file.read_text(encoding="utf-8"))
        part = PoolPart.model_validate(told.pop("part"))
        return cls(**{**told, "part": part, "recording": Path(told["recording"])})

    def opened(self) -> Any:
        """Open the engine without warming it up."""
        return self.part.spec.open(self.part.settings, self.part.site(""))


def open_subject(request: MeasuringRequest) -> Subject:
    """Open and warm up the engine of a stage, and return how to ask it."""
    opening = {
        Component.TRANSCRIBER: _recognizer_subject,
        Component.RETRIEVER: _encoder_subject,
        Component.LANGUAGE_MODEL: _language_model_subject,
        Component.SYNTHESIZER: _voice_subject,
    }
    return opening[request.part.component](request, _ANSWERS_A_TURN / _TURN_S)


def _recognizer_subject(request: MeasuringRequest, answers_s: float) -> Subject:
    is_streaming = request.part.spec.is_streaming
    engine = request.opened()
    recognizer = WholeUtterances(engine) if is_streaming else engine
    recognizer.warm_up()
    pcm = pcm_16k_from_wav(request.recording.read_bytes())
    # A stream is heard once, as it arrives; whole utterances are recognised repeatedly.
    again_s = 0.0 if is_streaming else _VOICED_SHARE / (request.partial_interval_ms / 1000)
    remark = f"an utterance of {PCM_16K.seconds_of(len(pcm)):.1f} s"
    return Subject(_model_of(request), lambda _: _when_done(recognizer.recognize(pcm)), again_s + answers_s, remark)


def _language_model_subject(request: MeasuringRequest, answers_s: float) -> Subject:
    model = request.opened()
    model.warm_up()
    prompt = (ChatMessage("system", _PASSAGE), ChatMessage("user", SPOKEN))

    def ask(number: int) -> Awaitable[float]:
        return _first(model.generate(GenerationRequest(f"profile-{number}", prompt, max_tokens=request.max_tokens)))

    return Subject(_model_of(request), ask, answers_s, "first clause of an answer from a passage")


def _voice_subject(request: MeasuringRequest, answers_s: float) -> Subject:
    synthesizer = request.opened()
    synthesizer.warm_up()
    often = answers_s * _CLAUSES_AN_ANSWER
    speaking = SpeechRequest(_CLAUSE)
    return Subject(
        _model_of(request), lambda _: _first(synthesizer.synthesize(speaking)), often, "first audio of a clause"
    )


def _encoder_subject(request: MeasuringRequest, answers_s: float) -> Subject:
    from deployments.engines.embedding.embedder import SentenceEncoder

    model = _model_of(request)
    encoder = SentenceEncoder(Path(request.part.models[model]), threads=request.part.settings.threads)
    encoder.encode(["warm up"])

    async def ask(number: int) -> float:
        await asyncio.to_thread(encoder.encode, [f"{SPOKEN} {number}"])
        return time.perf_counter()

    return Subject(model, ask, answers_s, "the embedding of a question; the search in the vector store is not in it")


def _model_of(request: MeasuringRequest) -> str:
    return request.part.spec.models(request.part.settings)[0].name


async def _when_done(work: Awaitable[Any]) -> float:
    await work
    return time.perf_counter()


async def _first(items: AsyncIterator[Any]) -> float:
    """Consume a stream and return when its first item arrived."""
    first_s = 0.0
    async for _ in items:
        first_s = first_s or time.perf_counter()
    return first_s


async def sustained(ask: Ask, workers: int, seconds: float) -> float:
    """Return the requests per second that are answered when `workers` each ask again as soon as they are answered."""
    # No two requests may be equal, because an engine with a cache would answer the second for free.
    numbers = itertools.count(workers * 1_000_000)
    answered = 0
    began_s = time.perf_counter()

    async def work() -> None:
        nonlocal answered
        while time.perf_counter() - began_s < seconds:
            await ask(next(numbers))
            answered += 1

    await asyncio.gather(*(work() for _ in range(workers)))
    return answered / (time.perf_counter() - began_s)


async def measure(ask: Ask, requests_s: float, seconds: float) -> LoadPoint:
    """Return the latency under requests that arrive at random (Poisson), whether or not earlier ones are done."""
    rng = random.Random(requests_s)
    latencies_ms: list[float] = []
    tasks: list[asyncio.Task[None]] = []
    began_s = due_s = time.perf_counter()

    async def one(number: int, asked_s: float) -> None:
        latencies_ms.append((await ask(100_000_000 + number) - asked_s) * 1000)

    # Slow engines are measured for longer, up to a limit, because a p95 needs enough requests.
    length_s = max(seconds, min(_LEAST_REQUESTS / requests_s, _LONGEST_STRETCH * seconds))
    while due_s - began_s < length_s:
        # When the loop is late it asks at once, and latency counts from when it should have asked.
        await asyncio.sleep(max(0.0, due_s - time.perf_counter()))  # noqa: TID251 - arrivals are times
        tasks.append(asyncio.create_task(one(len(tasks), due_s)))
        due_s += rng.expovariate(requests_s)
    await asyncio.gather(*tasks)
    latencies_ms.sort()
    p50, p95 = (latencies_ms[min(len(latencies_ms) - 1, int(share * len(latencies_ms)))] for share in (0.5, 0.95))
    return LoadPoint(round(requests_s, 2), round(p50, 1), round(p95, 1))


def rising(points: Sequence[LoadPoint]) -> tuple[LoadPoint, ...]:
    """Return the points with latencies made non-decreasing in the load.

    A heavier load that was served faster proves that the lighter one could have been, had the machine not been busy.
    """
    kept: list[LoadPoint] = []
    for point in sorted(points, key=lambda point: -point.requests_s):
        p50 = min([point.p50_ms, *(heavier.p50_ms for heavier in kept)])
        p95 = min([point.p95_ms, *(heavier.p95_ms for heavier in kept)])
        kept.append(LoadPoint(point.requests_s, p50, p95))
    return tuple(reversed(kept))


def device_of(num_gpus: float) -> tuple[str, int]:
    """Return the kind of device the engine is on, and how much of its memory this process and its children use."""
    pids = [psutil.Process(), *psutil.Process().children(recursive=True)]
    if num_gpus <= 0:
        return "cpu", sum(process.memory_full_info().pss for process in pids)
    name = _smi("--query-gpu=name").splitlines()[0].lower().replace("nvidia ", "").replace(" ", "-")
    wanted = {process.pid for process in pids}
    used_mib = 0
    for line in _smi("--query-compute-apps=pid,used_memory").splitlines():
        pid, _, mib = line.partition(",")
        used_mib += int(mib) if int(pid) in wanted else 0
    return name, used_mib * 2**20


def _smi(query: str) -> str:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def profile_engine(request: MeasuringRequest) -> EngineProfile:
    """Measure the engine of a stage and print the progress."""
    began_s, seconds = time.perf_counter(), request.seconds
    part = request.part
    subject = open_subject(request)
    start_s = time.perf_counter() - began_s
    steps = len(WORKERS) + len(LOADS)
    top = 0.0
    for step, workers in enumerate(WORKERS):
        _say({"step": step, "of": steps, "what": f"{subject.engine}: {workers} at once"})
        top = max(top, asyncio.run(sustained(subject.ask, workers, seconds)))
    points = []
    for step, load in enumerate(LOADS, start=len(WORKERS)):
        _say({"step": step, "of": steps, "what": f"{subject.engine}: {load:.0%} of {top:.1f} requests/s"})
        points.append(asyncio.run(measure(subject.ask, top * load, seconds)))
    device, memory_bytes = device_of(part.num_gpus)
    fit = {"threads": str(part.settings.threads), **part.spec.fit(part.settings, this_processor())}
    source = (
        f"measured {date.today().isoformat()} on {this_processor()}, "
        f"{', '.join(f'{key} {value}' for key, value in fit.items())}, device {device}, {seconds:g} s a load, "
        f"requests by chance at shares of the most that 1 to {WORKERS[-1]} askers got: {subject.remark}"
    )
    return EngineProfile(
        engine=subject.engine,
        stage=part.component.value,
        device=device,
        source=source,
        memory_bytes=memory_bytes,
        cpu_cores=float(fit["threads"]),
        requests_per_call_s=round(subject.requests_per_call_s, 3),
        points=rising(points),
        memory_control=part.spec.memory_control,
        start_s=round(start_s, 1),
    )


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure as the request file says and print the result."""
    request = MeasuringRequest.read(Path(sys.argv[1]))
    _say({"profile": json.loads(dump_profile(profile_engine(request)))})
    # Engines may have threads that would keep the process alive.
    sys.stdout.flush()


if __name__ == "__main__":
    main()
