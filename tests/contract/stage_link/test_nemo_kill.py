"""kill -9 of a recogniser with NeMo at twenty places of an utterance; its random weights say gibberish.

NeMo is imported once, by the process that forks the recognisers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.engines import nemo_reference as reference
from tests.contract.engines.nemo_models import NemoModels
from tests.contract.stage_link.gateways import FRAME_BYTES
from tests.contract.stage_link.recognizer_processes import RecognizerForge
from tests.contract.stage_link.test_kill import TRIES, survive_kills

pytestmark = [pytest.mark.contract, pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def nemo_forge(tmp_path: Path) -> Iterator[RecognizerForge]:
    with RecognizerForge(NemoModels(tmp_path).ctc) as opened:
        yield opened


async def test_nemo_says_the_same_after_a_kill_in_twenty_of_twenty(nemo_forge: RecognizerForge) -> None:
    speech = reference.noise(6.0)
    last = len(speech) // FRAME_BYTES - 1
    await survive_kills(nemo_forge, speech, [1 + (last - 1) * turn // (TRIES - 1) for turn in range(TRIES)])
