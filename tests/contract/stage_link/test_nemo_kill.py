"""kill -9 of a recogniser with NeMo and the checkpoint that ships, in the middle of an utterance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipelines.ports import Hypothesis
from tests.contract.engines.conftest import model_dir, speak  # noqa: F401  fixtures
from tests.contract.stage_link.gateways import gateway
from tests.contract.stage_link.recognizer_processes import RecognizerForge
from tests.contract.stage_link.test_kill import spoken

pytestmark = [pytest.mark.contract, pytest.mark.timeout(240)]

SENTENCE = "Hello, I would like to ask how long I can return a sleeping bag that I have not used yet."


@pytest.fixture
def nemo_forge(model_dir: Callable[[str], Path]) -> Iterator[RecognizerForge]:  # noqa: F811
    (checkpoint,) = model_dir("voxray-asr-small-en").glob("*.nemo")
    with RecognizerForge(checkpoint) as opened:
        yield opened


async def test_nemo_says_the_same_after_a_kill(
    nemo_forge: RecognizerForge,
    speak: Callable[[str], bytes],  # noqa: F811
) -> None:
    speech = speak(SENTENCE)
    running = [nemo_forge.fork(), nemo_forge.fork()]
    async with gateway(*(process.address for process in running)) as side:
        undisturbed = await spoken(side.transcriber, [], -1, None, speech)
        assert undisturbed[-1]

        def kill_its_recognizer() -> None:
            pinned = side.transcriber.pinned_by_replica()
            next(process for process in running if pinned[process.address.name]).kill()

        seen: list[Hypothesis] = []
        assert await spoken(side.transcriber, seen, 120, kill_its_recognizer, speech) == undisturbed
        assert side.transcriber.counts.moved == 1
        assert len({partial.text for partial in seen}) == len(seen)
