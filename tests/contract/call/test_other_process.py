"""A call that is left in one process and taken over in another, its value carried over as bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.transcripts.takeover import TIMELINES, Sent, undisturbed, until_left

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[3]


def from_left_elsewhere(name: str, cut_ms: float, data: bytes) -> list[Sent]:
    """Play the rest of a call in a process of its own."""
    command = [sys.executable, "-m", "tests.unit.transcripts.takeover", name, str(cut_ms)]
    run = subprocess.run(command, input=data, capture_output=True, cwd=ROOT, timeout=50, check=False)
    assert run.returncode == 0, run.stderr.decode()[-2_000:]
    return [Sent(*json.loads(line)) for line in run.stdout.splitlines()]


@pytest.mark.parametrize("name", ["two questions", "two questions, linked", "two questions by meaning", "telephone"])
def test_a_runner_in_another_process_hears_and_answers_as_the_undisturbed_one(name: str) -> None:
    cut_ms = 6_300.0  # in the second question
    timeline = TIMELINES[name]
    assert timeline.is_speech(cut_ms)

    before, data = until_left(timeline, cut_ms)
    after = from_left_elsewhere(name, cut_ms, data)

    assert [sent.text for sent in before + after] == [sent.text for sent in undisturbed(timeline)]
    assert any('"response.done"' in sent.text for sent in after), "the second question is answered elsewhere"
