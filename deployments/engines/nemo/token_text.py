"""Builds text and words from the word pieces of a recogniser that never retracts a piece. Pure.

A streaming recogniser emits pieces (`"▁ce"`, `"dar"`) at frames and never retracts them. The last word may still grow,
and punctuation attaches to the word before it, so a word is settled once the next one has begun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pipelines.hearing.link import HeardWord

_WORD_MARK = "▁"  # how SentencePiece writes the space before a word
END_OF_UTTERANCE = "<EOU>"


@dataclass(frozen=True, slots=True)
class Token:
    """An emitted piece.

    Attributes:
        piece: index in the vocabulary.
        frame: encoder frame, counted from the opening of the stream.
        confidence: 0.0 to 1.0.
    """

    piece: int
    frame: int
    confidence: float


@dataclass(slots=True)
class _Word:
    text: str
    first_frame: int
    last_frame: int
    confidences: list[float]

    def copy(self) -> _Word:
        return _Word(self.text, self.first_frame, self.last_frame, list(self.confidences))


@dataclass(slots=True)
class TokenText:
    """The words of one stream so far. `copy` returns one that may be extended tentatively.

    Attributes:
        words: text of each word, of which the last may be incomplete.
        last_frame: frame of the newest piece, -1 before the first.
    """

    _words: list[_Word] = field(default_factory=list)
    last_frame: int = -1

    @property
    def words(self) -> list[str]:
        return [word.text for word in self._words]

    def __len__(self) -> int:
        return len(self._words)

    def copy(self) -> TokenText:
        """Return an independent copy. It is cheap, since only the last word can still change."""
        return TokenText([*self._words[:-1], *(word.copy() for word in self._words[-1:])], self.last_frame)

    def extend(self, tokens: Iterable[Token], vocabulary: Sequence[str]) -> bool:
        """Append pieces and return whether one of them ended an utterance. Other control pieces are dropped."""
        is_end = False
        for token in tokens:
            piece = vocabulary[token.piece]
            if piece.startswith("<") and piece.endswith(">"):
                is_end = is_end or piece == END_OF_UTTERANCE
                continue
            self._append(piece, token)
            self.last_frame = token.frame
        return is_end

    def timed(self, frame_ms: int, since: int = 0) -> tuple[HeardWord, ...]:
        """Return the words from index `since` on, with their times and the mean confidence of their pieces."""
        return tuple(
            HeardWord(
                word.text,
                word.first_frame * frame_ms,
                (word.last_frame + 1) * frame_ms,
                round(sum(word.confidences) / len(word.confidences), 3),
            )
            for word in self._words[since:]
        )

    def _append(self, piece: str, token: Token) -> None:
        text = piece.removeprefix(_WORD_MARK)
        begins = piece.startswith(_WORD_MARK) or not self._words
        if begins and (not self._words or self._words[-1].text):
            self._words.append(_Word(text, token.frame, token.frame, [token.confidence]))
            return
        word = self._words[-1]
        if not word.text:  # a lone mark stood for the space, so the word begins with this piece
            word.first_frame = token.frame
        word.text += text
        word.last_frame = token.frame
        word.confidences.append(token.confidence)
