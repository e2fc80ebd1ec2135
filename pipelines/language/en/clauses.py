"""Cutting a stream of generated text into clauses that can be spoken one after the other.

The first clause is cut early because the caller waits for it. Later ones are cut at the end of a sentence, or at a
comma once they are long enough: longer pieces sound better, and by then synthesis is ahead of playout.
"""

from __future__ import annotations

import re

# A punctuation mark ends a clause only when white space follows it, so "3.5", "1,200" and "9:30" stay whole.
_BREAK = re.compile(r"([.!?]+[\"')\]]*|[,;:]|\s[-\u2013\u2014])(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|st|no|vs|etc|approx|inc|e\.g|i\.e|a\.m|p\.m)|\b[A-Za-z])\.$", re.IGNORECASE
)
_SENTENCE_MARKS = ".!?"


class ClauseSplitter:
    """Splits streamed text. The joined clauses give the text unchanged, since a clause keeps its leading space.

    Args:
        first_min_chars: shortest first clause that may end at a comma.
        later_min_chars: shortest later clause that may end at a comma.
        max_chars: a clause without any mark is cut at the last space before this length.
    """

    def __init__(self, *, first_min_chars: int = 16, later_min_chars: int = 48, max_chars: int = 120) -> None:
        self._first_min_chars = first_min_chars
        self._later_min_chars = later_min_chars
        self._max_chars = max_chars
        self._pending = ""
        self._has_cut = False

    def feed(self, text: str) -> list[str]:
        """Add text and return the clauses that are now complete."""
        self._pending += text
        clauses: list[str] = []
        while (end := self._next_end()) is not None:
            clauses.append(self._pending[:end])
            self._pending = self._pending[end:]
            self._has_cut = True
        return clauses

    def flush(self) -> list[str]:
        """Return the remainder as the last clause, or no clause when nothing speakable is left."""
        rest, self._pending = self._pending, ""
        return [rest] if rest.strip() else []

    def _next_end(self) -> int | None:
        min_chars = self._later_min_chars if self._has_cut else self._first_min_chars
        for match in _BREAK.finditer(self._pending):
            end = match.end()
            clause = self._pending[:end]
            if match[0][0] in _SENTENCE_MARKS:
                if not _ABBREVIATION.search(clause):
                    return end
            elif len(clause.strip()) >= min_chars:
                return end
        if len(self._pending) > self._max_chars:
            space = self._pending.rfind(" ", 1, self._max_chars)
            return space if space > 0 else self._max_chars
        return None
