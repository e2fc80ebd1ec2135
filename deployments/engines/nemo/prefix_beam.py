"""Incremental prefix beam search for CTC with a language model, one stream at a time. Pure.

Only the few most likely texts are followed frame by frame (Hannun et al., 2014, "First-pass large vocabulary
continuous speech recognition"): each is a chain of pieces with the probability of all paths that spell it, once ending
with a blank and once with its last piece. A further piece is scored by both the acoustic model and the language model.

Whatever all followed texts agree on can no longer change and is output; the rest is the best guess so far. States are
immutable, so that a caller can keep an older one and continue from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.engines.nemo.token_text import Token

_NEVER = -math.inf
# Natural log probability of blank above which a frame starts no new piece.
_SURELY_BLANK = math.log(0.99)


class LanguageScores(Protocol):
    """A source of language scores, in natural log."""

    def begin(self) -> Any:
        """Return the state before the first piece."""

    def after(self, state: Any) -> tuple[NDArray[np.float32], Any]:
        """Return the score of each piece after this state and the states that the pieces lead to, both [pieces]."""


@dataclass(frozen=True, slots=True)
class BeamHabits:
    """How wide the search is.

    Attributes:
        width: number of texts that are followed.
        pieces: number of the most likely pieces of a frame that may extend a text.
        depth: texts that are less likely than the best by more than this are dropped, in natural log.
        weight: weight of the language scores relative to the acoustic ones, applied by whoever makes the scores.
        piece_bonus: average language cost of a further piece, in natural log. It is given back for each piece, since
            short texts would win otherwise.
        longest_open: how many pieces may stay open. Beyond that, the oldest piece of the best text is settled.
    """

    width: int = 16
    pieces: int = 20
    depth: float = 10.0
    weight: float = 1.0
    piece_bonus: float = 3.0
    longest_open: int = 10


@dataclass(frozen=True, slots=True)
class _Chain:
    """The last unsettled piece of a text, linked to those before it."""

    before: _Chain | None
    token: Token
    key: int


@dataclass(frozen=True, slots=True)
class _Text:
    """A text being followed.

    Attributes:
        chain: its open pieces, or None; `last`: its last piece, -1 before the first.
        key: identifies the text among those with the same settled pieces.
        language: state of the language scores after it; `bonus`: its language score so far.
        blank, spelled: log probability of the paths that end with a blank, and with the last piece.
    """

    chain: _Chain | None
    last: int
    key: int
    language: Any
    bonus: float
    blank: float
    spelled: float

    @property
    def score(self) -> float:
        return _sum(self.blank, self.spelled) + self.bonus


@dataclass(frozen=True, slots=True)
class BeamState:
    """The texts being followed, best first, and how many frames have been heard."""

    texts: tuple[_Text, ...]
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Followed:
    """The outcome of some frames.

    Attributes:
        settled: pieces that every followed text has next, which are final.
        open: the pieces that follow them in the best text.
    """

    settled: list[Token]
    open: list[Token]
    state: BeamState


class PrefixBeam:
    """Searches with one set of language scores, and serves many streams.

    Args:
        blank: class of the blank; the pieces are the classes before it.
    """

    def __init__(self, language: LanguageScores, blank: int, habits: BeamHabits | None = None) -> None:
        self._language, self._blank, self._habits = language, blank, habits or BeamHabits()
        self._piece_bonus = self._habits.weight * self._habits.piece_bonus

    def begin(self) -> BeamState:
        """Return the state of a new stream."""
        return BeamState((_Text(None, -1, 0, self._language.begin(), 0.0, 0.0, _NEVER),))

    def follow(self, log_probs: NDArray[np.float32], state: BeamState) -> Followed:
        """Process frames, [frames, pieces + blank].

        The frame of a token is relative to the first of them and may be negative.
        """
        texts = state.texts
        for frame, row in enumerate(log_probs, start=state.frames):
            is_silent = row[self._blank] > _SURELY_BLANK
            texts = self._silent(row, texts) if is_silent else self._heard(row, texts, frame)
        settled, texts = _settled(texts, self._habits.longest_open)
        after = BeamState(texts, state.frames + len(log_probs))
        return Followed(_tokens(settled, state.frames), _tokens(_links(texts[0].chain), state.frames), after)

    def _silent(self, row: NDArray[np.float32], texts: Sequence[_Text]) -> tuple[_Text, ...]:
        blank = float(row[self._blank])
        kept = [
            _Text(
                text.chain, text.last, text.key, text.language, text.bonus, _sum(text.blank, text.spelled) + blank,
                text.spelled + float(row[text.last]) if text.last >= 0 else _NEVER,
            )
            for text in texts
        ]  # fmt: skip
        return tuple(sorted(kept, key=_score, reverse=True))

    def _heard(self, row: NDArray[np.float32], texts: Sequence[_Text], frame: int) -> tuple[_Text, ...]:
        habits = self._habits
        found = {text.key: text for text in self._silent(row, texts)}
        best = max(text.score for text in found.values())
        pieces = self._likely(row)
        for text in texts:
            scores, following = self._language.after(text.language)
            both = _sum(text.blank, text.spelled)
            for piece, log_prob in pieces:
                # Saying the same piece twice requires a blank in between.
                path = (text.blank if piece == text.last else both) + log_prob
                bonus = text.bonus + float(scores[piece]) + self._piece_bonus
                if path + bonus < best - habits.depth:
                    continue
                best = max(best, path + bonus)
                key = hash((text.key, piece))
                if key in found:
                    found[key] = _joined(found[key], path, Token(piece, frame, math.exp(log_prob)))
                    continue
                chain = _Chain(text.chain, Token(piece, frame, math.exp(log_prob)), key)
                found[key] = _Text(chain, piece, key, following[piece], bonus, _NEVER, path)
        ranked = sorted(found.values(), key=_score, reverse=True)[: habits.width]
        return tuple(text for text in ranked if text.score >= best - habits.depth)

    def _likely(self, row: NDArray[np.float32]) -> list[tuple[int, float]]:
        """Return the most likely pieces of a frame with their log probabilities."""
        heard = row[: self._blank]
        count = self._habits.pieces
        likely = np.argpartition(heard, -count)[-count:] if count < heard.size else np.arange(heard.size)
        return list(zip(likely.tolist(), heard[likely].tolist(), strict=True))


def _joined(text: _Text, path: float, token: Token) -> _Text:
    """Add further paths that spell a text. Its last piece is placed where the most likely of them has it."""
    chain = text.chain
    if chain is not None and path > text.spelled:
        chain = _Chain(chain.before, token, chain.key)
    return replace(text, chain=chain, spelled=_sum(text.spelled, path))


def _score(text: _Text) -> float:
    return text.score


def _sum(left: float, right: float) -> float:
    """Return log(e^left + e^right)."""
    if left < right:
        left, right = right, left
    return left if right == _NEVER else left + math.log1p(math.exp(right - left))


def _links(chain: _Chain | None) -> list[_Chain]:
    links = []
    while chain is not None:
        links.append(chain)
        chain = chain.before
    return links[::-1]


def _tokens(links: Sequence[_Chain], since: int) -> list[Token]:
    """Return the tokens of links, with frames relative to frame `since`."""
    return [Token(each.token.piece, each.token.frame - since, each.token.confidence) for each in links]


def _settled(texts: Sequence[_Text], longest_open: int) -> tuple[list[_Chain], tuple[_Text, ...]]:
    """Remove what all texts begin with. Texts that diverged from the best one too long ago are dropped."""
    chains = [_links(text.chain) for text in texts]
    beyond = len(chains[0]) - longest_open
    if beyond > 0:
        agreeing = [
            place for place, links in enumerate(chains)
            if len(links) >= beyond and links[beyond - 1].key == chains[0][beyond - 1].key
        ]  # fmt: skip
        texts, chains = [texts[place] for place in agreeing], [chains[place] for place in agreeing]
    common = 0
    for links in zip(*chains, strict=False):
        if any(link.key != links[0].key for link in links):
            break
        common += 1
    if not common:
        return [], tuple(texts)
    kept = tuple(replace(text, chain=_chain(links[common:])) for text, links in zip(texts, chains, strict=True))
    return chains[0][:common], kept


def _chain(links: Sequence[_Chain]) -> _Chain | None:
    chain: _Chain | None = None
    for link in links:
        chain = _Chain(chain, link.token, link.key)
    return chain
