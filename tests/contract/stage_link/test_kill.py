"""kill -9 of the recogniser in the middle of an utterance: the caller's text is that of the undisturbed run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest

from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.ports import Hypothesis
from tests.contract.stage_link.gateways import FRAME_BYTES, gateway, loud_pcm
from tests.contract.stage_link.recognizer_processes import RecognizerForge, RecognizerProcess

pytestmark = pytest.mark.contract

TRIES = 20
PCM = loud_pcm(2_000, seed=11)
FRAMES = len(PCM) // FRAME_BYTES
# On a busy machine an answer may be late; here only the kill moves a stream.
PATIENT = LinkPatience(answer_s=100.0, wait_s=200.0)


@pytest.fixture
def forge() -> Iterator[RecognizerForge]:
    with RecognizerForge() as opened:
        yield opened


async def spoken(
    transcriber: LinkedTranscriber, seen: list[Hypothesis], disturb_at: int, disturb: object, pcm_16k: bytes = PCM
) -> list[str]:
    """Speak at ten times the pace of speech, with a pause half way; return the text at the pause and at the end."""
    stream = transcriber.open(seen.append)
    pauses: list[asyncio.Task[Hypothesis]] = []
    starts = range(0, len(pcm_16k), FRAME_BYTES)
    for index, start in enumerate(starts):
        if index == disturb_at and callable(disturb):
            disturb()
        stream.push(pcm_16k[start : start + FRAME_BYTES])
        if index == len(starts) // 2:
            pauses.append(asyncio.create_task(stream.finalize()))
        await asyncio.sleep(0.002)  # noqa: TID251  the pace of the speech
    texts = [(await pause).text for pause in pauses] + [(await stream.finalize()).text]
    await stream.aclose()
    return texts


async def survive_kills(forge: RecognizerForge, pcm_16k: bytes, places: Sequence[int]) -> None:
    """Say `pcm_16k` once undisturbed, then once for each of `places`: before that frame its recogniser is killed.

    Two recognisers run at a time, a new one for each that was killed. Every time the texts are the undisturbed ones,
    and no partial repeats, takes back or shortens what the caller has seen.
    """
    running = [forge.fork(), forge.fork()]
    async with gateway(*(process.address for process in running), patience=PATIENT) as side:
        undisturbed = await spoken(side.transcriber, [], -1, None, pcm_16k)
        # What is said grows with the sound: a replay that lost some would say something else.
        assert 0 < len(undisturbed[0]) < len(undisturbed[-1])
        for place in places:
            victims: list[RecognizerProcess] = []

            def kill_its_recognizer(killed: list[RecognizerProcess] = victims) -> None:
                pins = side.transcriber._pins
                killed += [
                    process
                    for process in running
                    if any(pins.stream_at(process.address.name, number) for number in range(1, 100))
                ]
                killed[0].kill()

            seen: list[Hypothesis] = []
            moved = side.transcriber.counts.moved
            assert await spoken(side.transcriber, seen, place, kill_its_recognizer, pcm_16k) == undisturbed
            (victim,) = victims
            assert side.transcriber.counts.moved == moved + 1
            for before, after in pairwise(seen):
                assert after.text.startswith(before.text[: before.stable_chars])
                assert len(after.text) > len(before.text)
            running.remove(victim)
            running.append(forge.fork())
            side.addresses = [process.address for process in running]
            await side.until(lambda transcriber: transcriber.gauges()["replicas"] == 2)
    assert side.transcriber.counts.lost_replicas == len(places)


async def test_final_text_is_that_of_the_undisturbed_run_in_twenty_of_twenty_kills(forge: RecognizerForge) -> None:
    randomness = random.Random(3)
    await survive_kills(forge, PCM, [randomness.randrange(1, FRAMES) for _ in range(TRIES)])


async def test_call_goes_on_when_the_only_recogniser_is_killed_and_another_comes(forge: RecognizerForge) -> None:
    only = forge.fork()
    async with gateway(only.address) as side:
        undisturbed = await spoken(side.transcriber, [], -1, None)

        def replace() -> None:
            only.kill()
            side.addresses = [forge.fork().address]

        assert await spoken(side.transcriber, [], 60, replace) == undisturbed
