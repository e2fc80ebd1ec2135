"""The NeMo engine in its loop: any audio, any end of a stream, thousands of them."""

from __future__ import annotations

import queue
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from deployments.engines.nemo import NemoSettings
from deployments.engines.nemo.recognizer import make_stepper
from deployments.engines.nemo.stepper import NemoStepper, StepperLimits
from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio
from deployments.engines.streaming.loop import Link, LoopLimits, StreamLoop
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    OpenStream,
    PushAudio,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from tests.contract.engines import nemo_reference as reference
from tests.contract.engines.nemo_language import save_language
from tests.contract.engines.nemo_models import NemoModels

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300), pytest.mark.filterwarnings("ignore")]

WAIT_S = 120.0
# The first samples of audio at which the stepper below raises, as a model does at what it cannot take.
POISON = b"\x37\x13" * 8
SLOTS = 24


class FragileStepper:
    """A NeMo stepper that raises at poisoned audio."""

    def __init__(self, stepper: NemoStepper) -> None:
        self._stepper = stepper
        self.first_bytes, self.chunk_bytes = stepper.first_bytes, stepper.chunk_bytes
        self.slots, self.max_batch = stepper.slots, stepper.max_batch

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        return self._guarded(self._stepper.step, chunks)

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        return self._guarded(self._stepper.finish, rests)

    def warm_up(self) -> Mapping[int, float]:
        return self._stepper.warm_up()

    def open(self, slot: int, tenant: str) -> None:
        self._stepper.open(slot, tenant)

    def free(self, slot: int) -> None:
        self._stepper.free(slot)

    def close(self) -> None:
        self._stepper.close()

    @property
    def taken(self) -> int:
        return len(self._stepper._slots)

    @staticmethod
    def _guarded(run: Callable[[Sequence[SlotAudio]], list[Heard]], audio: Sequence[SlotAudio]) -> list[Heard]:
        if any(item.pcm_16k.startswith(POISON) for item in audio):
            raise RuntimeError("not to be heard")
        return run(audio)


class Ear:
    def __init__(self) -> None:
        self.told: queue.Queue[StreamResult] = queue.Queue()

    def __call__(self, results: list[StreamResult]) -> None:
        for result in results:
            self.told.put(result)

    def until_ends(self, streams: Collection[int]) -> dict[int, StreamResult]:
        """Return the answer to a finish of each stream, or why there is none."""
        ends: dict[int, StreamResult] = {}
        while len(ends) < len(streams):
            result = self.told.get(timeout=WAIT_S)
            if result.stream in streams and (not isinstance(result, StreamHeard) or result.finish is not None):
                ends[result.stream] = result
        return ends


@pytest.fixture(scope="module")
def language(nemo_models: NemoModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    sentences = ("where is the cedar lamp", "the cedar chair and the lamp", "yes please", "i want the number")
    return save_language(tmp_path_factory.mktemp("language") / "small.arpa", nemo_models.tokenizer, sentences)


@contextmanager
def running(
    models: NemoModels, language_model: Path | None = None, **limits: int
) -> Iterator[tuple[StreamLoop, FragileStepper]]:
    made: list[FragileStepper] = []

    def make() -> FragileStepper:
        settings = NemoSettings(chunk_ms=560, device="cpu", language_model=str(language_model or "auto"))
        made.append(FragileStepper(make_stepper(models.ctc, settings, StepperLimits(slots=SLOTS, max_batch=SLOTS))))
        return made[0]

    loop = StreamLoop(make, LoopLimits(max_streams=SLOTS, late_ms=600_000, **limits))
    try:
        yield loop, made[0]
    finally:
        loop.close()


def hear(loop: StreamLoop, *pushes: bytes) -> StreamResult:
    """Send one stream's audio on a link of its own; return the answer to its finish."""
    ear = Ear()
    link = loop.open_link(ear)
    link.send([OpenStream(0), *(PushAudio(0, push) for push in pushes), FinishUtterance(0, 1)])
    result = ear.until_ends([0])[0]
    link.close()
    return result


def test_any_audio_gives_a_text_and_never_a_dead_thread(nemo_models: NemoModels) -> None:
    loud = b"\xff\x7f\x00\x80" * 16_000
    with running(nemo_models) as (loop, _):
        audio = {
            "empty": [b""],
            "one byte": [b"\x01"],
            "silence": [bytes(64_000)],
            "clipped": [loud],
            "noise": [reference.noise(3.0, level=20_000)],
        }
        for kind, pushes in audio.items():
            result = hear(loop, *pushes)
            assert isinstance(result, StreamHeard), kind
            assert result.audio_ms == sum(map(len, pushes)) // 32
        loop.check_health()


def test_warm_up_runs_every_batch_size_and_leaves_nothing_behind(nemo_models: NemoModels) -> None:
    with running(nemo_models) as (loop, stepper):
        before = hear(loop, reference.noise(2.0))
        loop.warm_up()
        assert stepper.taken == 0
        assert loop.stats()["slots"] == SLOTS, "as many as were asked for, whatever the steps took"
        assert hear(loop, reference.noise(2.0)) == before
        took_ms = stepper.warm_up()
        assert sorted(took_ms) == list(range(1, SLOTS + 1))
        assert min(took_ms.values()) > 0


def test_cuts_between_bytes_of_a_sample_change_nothing(nemo_models: NemoModels) -> None:
    pcm = reference.noise(2.0)
    rng = random.Random(5)
    pieces, place = [], 0
    while place < len(pcm):
        size = rng.choice([1, 3, 333, 1001])
        pieces.append(pcm[place : place + size])
        place += size
    with running(nemo_models) as (loop, _):
        whole, cut = hear(loop, pcm), hear(loop, *pieces)
        assert isinstance(whole, StreamHeard)
        assert whole == cut
        assert whole.text


@pytest.mark.parametrize("decoder", ["greedy", "language"])
def test_a_monologue_of_five_minutes_in_one_push_is_heard_as_in_many(
    nemo_models: NemoModels, language: Path, decoder: str
) -> None:
    pcm = reference.noise(300.0)
    with running(nemo_models, language if decoder == "language" else None) as (loop, _):
        at_once = hear(loop, pcm)
        assert isinstance(at_once, StreamHeard)
        assert at_once.audio_ms == 300_000
        assert len(at_once.words) > 400
        assert hear(loop, *(pcm[place : place + 40_000] for place in range(0, len(pcm), 40_000))) == at_once


def test_more_audio_than_may_wait_is_a_clear_error(nemo_models: NemoModels) -> None:
    with running(nemo_models, max_backlog_ms=10_000) as (loop, _):
        assert hear(loop, bytes(320_001)) == StreamFailed(0, "more than 10 s of audio wait to be recognised", False)
        assert isinstance(hear(loop, bytes(3200)), StreamHeard)


def test_audio_that_the_model_cannot_take_fails_its_stream_alone(nemo_models: NemoModels) -> None:
    ear = Ear()
    pcm = reference.noise(1.5)
    with running(nemo_models) as (loop, stepper):
        alone = hear(loop, pcm)
        link = loop.open_link(ear)
        link.send([OpenStream(stream) for stream in range(5)])
        pushes: list[StreamCommand] = [PushAudio(s, POISON + pcm if s == 2 else pcm) for s in range(5)]
        link.send([*pushes, *(FinishUtterance(stream, 1) for stream in range(5))])
        results = ear.until_ends(range(5))
        assert results.pop(2) == StreamFailed(2, "the model failed: RuntimeError", retryable=True)
        assert isinstance(alone, StreamHeard)
        assert {heard.text for heard in results.values() if isinstance(heard, StreamHeard)} == {alone.text}
        loop.check_health()
        link.close()
        assert isinstance(hear(loop, b""), StreamHeard)
        assert stepper.taken == 0 or loop.stats()["streams"] <= 1


class Gateway:
    """Opens streams on links of its own and ends them in every way there is."""

    WAYS = ("clean", "abrupt", "link", "error", "silent", "finish in the middle")

    def __init__(self, loop: StreamLoop, seed: int) -> None:
        self._loop = loop
        self._rng = random.Random(seed)
        self._pcm = reference.noise(2.0, seed=seed)
        self._next = 0
        self.ends = dict.fromkeys(self.WAYS, 0)

    def run(self, streams: int, at_a_time: int) -> None:
        while self._next < streams:
            ear = Ear()
            link = self._loop.open_link(ear)
            numbers = range(self._next, min(self._next + at_a_time, streams))
            self._next = numbers.stop
            waited = [number for number in numbers if self._begin(link, number)]
            ends = ear.until_ends(waited)
            assert not any(isinstance(end, StreamRefused) for end in ends.values())
            link.send([CloseStream(number) for number in waited[::2]])
            link.close()

    def _begin(self, link: Link, number: int) -> bool:
        """Open a stream and send it something; returns whether an end of it is to be waited for."""
        way = self.WAYS[number % len(self.WAYS)]
        self.ends[way] += 1
        pcm = self._pcm[: self._rng.randrange(0, 30_000)]
        match way:
            case "clean" | "finish in the middle":
                link.send([OpenStream(number), PushAudio(number, pcm), FinishUtterance(number, 1)])
                if way != "clean":
                    link.send([PushAudio(number, pcm)])
                return True
            case "error":
                link.send([OpenStream(number), PushAudio(number, POISON + pcm), FinishUtterance(number, 1)])
                return True
            case "abrupt":
                link.send([OpenStream(number), PushAudio(number, pcm), CloseStream(number), PushAudio(number, pcm)])
            case "silent":
                link.send([OpenStream(number)])
            case _:
                link.send([OpenStream(number), PushAudio(number, pcm)])
        return False


@pytest.mark.parametrize(("decoder", "streams"), [("greedy", 5000), ("language", 1500)])
def test_thousands_of_streams_lose_no_slot_and_no_memory(
    nemo_models: NemoModels, language: Path, decoder: str, streams: int
) -> None:
    process = psutil.Process()
    with running(nemo_models, language if decoder == "language" else None) as (loop, stepper):
        gateway = Gateway(loop, seed=7)
        gateway.run(streams // 5, at_a_time=SLOTS)
        before = process.memory_info().rss
        gateway.run(streams, at_a_time=SLOTS)
        grown_mb = (process.memory_info().rss - before) / 2**20
        # Every slot can be taken once more, at the same time.
        ear = Ear()
        link = loop.open_link(ear)
        link.send([OpenStream(stream) for stream in range(SLOTS + 1)])
        link.send([FinishUtterance(stream, 1) for stream in range(SLOTS)])
        answers = [ear.told.get(timeout=WAIT_S) for _ in range(SLOTS + 1)]
        assert sum(isinstance(answer, StreamRefused) for answer in answers) == 1
        assert stepper.taken == SLOTS
        link.close()
        assert min(gateway.ends.values()) >= streams // len(Gateway.WAYS)
        assert loop.stats()["opened"] >= streams
        assert grown_mb < 30, f"{grown_mb:.0f} MB more after {streams * 4 // 5} streams"
        loop.check_health()
