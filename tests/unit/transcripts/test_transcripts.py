"""What callers see stays as it was recorded, message by message, byte by byte and millisecond by millisecond.

A difference that is meant is recorded with `python -m tests.unit.transcripts.record`, and read before it is committed.
"""

from __future__ import annotations

import asyncio
from difflib import unified_diff

import pytest

from tests.unit.transcripts.record import FOLDER, path_of
from tests.unit.transcripts.scenarios import RECIPES
from tests.unit.transcripts.virtual_time import pass_time, run_virtual

pytestmark = pytest.mark.unit

HOW_TO_RECORD = "if callers are meant to see this change: python -m tests.unit.transcripts.record"


def difference(recorded: list[str], played: list[str]) -> str:
    """Return how a call differs from its transcript, with three lines around each place; "" when it does not."""
    lines = list(unified_diff(recorded, played, "recorded", "played", lineterm=""))
    return "\n".join([*lines, HOW_TO_RECORD]) if lines else ""


def recorded(name: str) -> list[str]:
    return path_of(name).read_text().splitlines()


@pytest.mark.parametrize("name", RECIPES)
def test_a_call_is_as_it_was_recorded(name: str) -> None:
    assert not (told := difference(recorded(name), RECIPES[name].record())), told


def test_every_transcript_is_of_a_scenario() -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == RECIPES.keys()


def test_a_call_is_the_same_when_it_is_played_again() -> None:
    recipe = RECIPES["barge_in"]

    assert recipe.record() == recipe.record()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"at_ms":400,', '"at_ms":401,'),
        ("sha256 ", "sha256 f"),
        ("unused items", "unusedd items"),
        ("item_7_2", "item_7_9"),
    ],
)
def test_a_changed_byte_is_told_with_both_lines(before: str, after: str) -> None:
    lines = recorded("semantic_vad_turn")
    index = next(index for index, line in enumerate(lines) if before in line)
    changed = lines[index].replace(before, after, 1)

    told = difference(lines, [*lines[:index], changed, *lines[index + 1 :]])

    assert f"-{lines[index]}" in told
    assert f"+{changed}" in told
    assert HOW_TO_RECORD in told


def test_a_message_too_few_is_told() -> None:
    lines = recorded("semantic_vad_turn")

    assert f"-{lines[-1]}" in difference(lines, lines[:-1])


def test_no_difference_is_told_of_the_same_transcript() -> None:
    assert difference(recorded("barge_in"), recorded("barge_in")) == ""


def test_virtual_time_goes_on_by_timers_alone() -> None:
    async def main() -> float:
        await pass_time(3_600_000)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == pytest.approx(3_600, abs=0.001)


def test_a_loop_in_which_nothing_can_happen_is_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="wait for ever"):
        run_virtual(main())
