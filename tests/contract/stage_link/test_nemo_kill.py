"""kill -9 of a recogniser with NeMo in the middle of an utterance; its random weights say gibberish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.ports import Hypothesis
from tests.contract.engines import nemo_reference as reference
from tests.contract.engines.nemo_models import NemoModels
from tests.contract.stage_link.gateways import gateway
from tests.contract.stage_link.recognizer_processes import RecognizerForge
from tests.contract.stage_link.test_kill import spoken

pytestmark = [pytest.mark.contract, pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def nemo_forge(tmp_path: Path) -> Iterator[RecognizerForge]:
    with RecognizerForge(NemoModels(tmp_path).ctc) as opened:
        yield opened


async def test_nemo_says_the_same_after_a_kill(nemo_forge: RecognizerForge) -> None:
    speech = reference.noise(6.0)
    running = [nemo_forge.fork(), nemo_forge.fork()]
    async with gateway(*(process.address for process in running)) as side:
        undisturbed = await spoken(side.transcriber, [], -1, None, speech)
        # What is said grows with the sound: a replay that lost some would say something else.
        assert 0 < len(undisturbed[0]) < len(undisturbed[-1])

        def kill_its_recognizer() -> None:
            pinned = side.transcriber.pinned_by_replica()
            next(process for process in running if pinned[process.address.name]).kill()

        seen: list[Hypothesis] = []
        assert await spoken(side.transcriber, seen, 120, kill_its_recognizer, speech) == undisturbed
        assert side.transcriber.counts.moved == 1
        assert len({partial.text for partial in seen}) == len(seen)
