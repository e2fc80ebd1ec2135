"""A stepper whose hypothesis is its audio: every 16-bit sample is the code of a letter. What is lost or mixed shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deployments.engines.streaming.chunk_stepper import Heard, SlotAudio


def pcm_of(letters: str) -> bytes:
    return letters.encode("utf-16-le")


@dataclass
class LetterStepper:
    """First chunk of 2 letters, then 4 each. Raises for "!" in one stream's audio, for every stream while `is_ill`."""

    slots: int = 4
    max_batch: int = 4
    first_bytes: int = 4
    chunk_bytes: int = 8
    is_ill: bool = False
    texts: dict[int, str] = field(default_factory=dict)
    batches: list[list[int]] = field(default_factory=list)
    rests: list[list[int]] = field(default_factory=list)
    freed: list[int] = field(default_factory=list)
    is_closed: bool = False

    def warm_up(self) -> Mapping[int, float]:
        return dict.fromkeys(range(1, self.max_batch + 1), 1.0)

    def open(self, slot: int, tenant: str) -> None:
        assert slot not in self.texts, "opened twice"
        if tenant == "bad":
            raise ValueError("no such tenant")
        self.texts[slot] = ""

    def step(self, chunks: Sequence[SlotAudio]) -> list[Heard]:
        self.batches.append([chunk.slot for chunk in chunks])
        new = [self.texts[chunk.slot] + self._letters(chunk) for chunk in chunks]
        for chunk, text in zip(chunks, new, strict=True):
            expected = self.chunk_bytes if self.texts[chunk.slot] else self.first_bytes
            assert len(chunk.pcm_16k) == expected
            self.texts[chunk.slot] = text
        return [Heard(text, len(text), text.endswith(".")) for text in new]

    def finish(self, rests: Sequence[SlotAudio]) -> list[Heard]:
        self.rests.append([rest.slot for rest in rests])
        texts = [(self.texts[rest.slot], self._letters(rest)) for rest in rests]
        return [Heard(kept + more, len(kept)) for kept, more in texts]

    def free(self, slot: int) -> None:
        self.freed.append(slot)
        self.texts.pop(slot, None)

    def close(self) -> None:
        self.is_closed = True

    def _letters(self, audio: SlotAudio) -> str:
        letters = audio.pcm_16k.decode("utf-16-le")
        if self.is_ill or "!" in letters:
            raise ValueError(letters)
        return letters
