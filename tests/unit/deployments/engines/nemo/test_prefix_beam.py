from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.engines.nemo.prefix_beam import BeamHabits, BeamState, PrefixBeam
from deployments.engines.nemo.token_text import Token

pytestmark = pytest.mark.unit

PIECES = 3
WIDE = BeamHabits(width=10_000, pieces=PIECES, depth=1e9, piece_bonus=0.0, longest_open=100)


class Silent:
    """Knows no language."""

    def begin(self) -> int:
        return 0

    def after(self, state: int) -> tuple[NDArray[np.float32], Sequence[int]]:
        return np.zeros(PIECES, np.float32), [0] * PIECES


class Expects:
    """Prefers one piece after another; a state is the piece before, `PIECES` at the beginning."""

    def __init__(self, before: int, piece: int, score: float) -> None:
        self.wanted = (before, piece, score)

    def begin(self) -> int:
        return PIECES

    def after(self, state: int) -> tuple[NDArray[np.float32], Sequence[int]]:
        before, piece, score = self.wanted
        scores = np.zeros(PIECES, np.float32)
        if state == before:
            scores[piece] = score
        return scores, list(range(PIECES))


def frames(*probabilities: Sequence[float]) -> NDArray[np.float32]:
    return np.log(np.array(probabilities, np.float32))


def random_frames(seed: int, count: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).dirichlet([0.4] * (PIECES + 1), count)
    return np.log(np.maximum(values, 1e-6)).astype(np.float32)


def text_of(tokens: Sequence[Token]) -> tuple[int, ...]:
    return tuple(token.piece for token in tokens)


def likeliest(log_probs: NDArray[np.float32]) -> tuple[int, ...]:
    """Add up every path."""
    totals: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(PIECES + 1), repeat=len(log_probs)):
        text = tuple(label for label, _ in itertools.groupby(path) if label != PIECES)
        totals[text] += math.exp(sum(float(row[label]) for row, label in zip(log_probs, path, strict=True)))
    return max(totals, key=lambda text: totals[text])


def heard_in(beam: PrefixBeam, log_probs: NDArray[np.float32], sizes: Sequence[int]) -> list[Token]:
    """Hear in parts of these sizes; return all tokens with frames of the whole."""
    state, settled, guess, place = beam.begin(), [], [], 0
    for size in sizes:
        followed = beam.follow(log_probs[place : place + size], state)
        settled += [Token(each.piece, each.frame + place, each.confidence) for each in followed.settled]
        guess = [Token(each.piece, each.frame + place, each.confidence) for each in followed.open]
        state, place = followed.state, place + size
    return settled + guess


@pytest.mark.parametrize("seed", range(12))
def test_a_wide_search_finds_the_text_that_all_paths_make_likeliest(seed: int) -> None:
    log_probs = random_frames(seed, 6)
    assert text_of(heard_in(PrefixBeam(Silent(), PIECES, WIDE), log_probs, [6])) == likeliest(log_probs)


@pytest.mark.parametrize("seed", range(6))
def test_parts_are_heard_as_the_whole(seed: int) -> None:
    log_probs = random_frames(seed, 40)
    beam = PrefixBeam(Expects(0, 1, 2.0), PIECES, BeamHabits(width=8, pieces=PIECES, longest_open=100))
    whole = heard_in(beam, log_probs, [40])
    assert whole
    assert [token.frame for token in whole] == sorted(token.frame for token in whole)
    for sizes in ([1] * 40, [2] * 20, [7] * 5 + [5], [39, 1]):
        assert heard_in(beam, log_probs, sizes) == whole


def test_what_is_settled_begins_every_later_text() -> None:
    beam = PrefixBeam(Silent(), PIECES, BeamHabits(width=8, pieces=PIECES, longest_open=3))
    state, settled = beam.begin(), ()
    for row in random_frames(5, 60):
        followed = beam.follow(row[None], state)
        settled += text_of(followed.settled)
        assert len(followed.open) <= 3
        state = followed.state
    assert len(settled) > 10


def test_a_state_is_never_changed() -> None:
    beam = PrefixBeam(Silent(), PIECES, BeamHabits(width=4, pieces=PIECES))
    before: BeamState = beam.follow(random_frames(1, 10), beam.begin()).state
    first, second = (beam.follow(random_frames(2, 10), before) for _ in range(2))
    assert first == second


def test_the_language_decides_where_the_ear_is_unsure() -> None:
    log_probs = frames((0.9, 0.03, 0.03, 0.04), (0.01, 0.40, 0.55, 0.04))
    heard = {score: heard_in(PrefixBeam(Expects(0, 1, score), PIECES), log_probs, [1, 1]) for score in (0.0, 2.0)}
    assert text_of(heard[0.0]) == (0, 2)
    assert text_of(heard[2.0]) == (0, 1)
    assert heard[2.0][1] == Token(1, 1, pytest.approx(0.40))


def test_the_same_piece_twice_needs_a_blank_between() -> None:
    once = frames((0.97, 0.01, 0.01, 0.01), (0.97, 0.01, 0.01, 0.01))
    twice = frames((0.97, 0.01, 0.01, 0.01), (0.01, 0.005, 0.005, 0.98), (0.97, 0.01, 0.01, 0.01))
    beam = PrefixBeam(Silent(), PIECES)
    assert text_of(heard_in(beam, once, [2])) == (0,)
    assert text_of(heard_in(beam, twice, [3])) == (0, 0)


def test_silence_says_nothing() -> None:
    silent = frames(*[(0.001, 0.001, 0.001, 0.997)] * 50)
    followed = PrefixBeam(Silent(), PIECES).follow(silent, PrefixBeam(Silent(), PIECES).begin())
    assert (followed.settled, followed.open) == ([], [])
