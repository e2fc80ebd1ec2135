"""A transcriber that hears what it is told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from deployments.engines.scripted.script import Script
from pipelines.audio.pcm import PCM_16K
from pipelines.errors import Component, EngineError
from pipelines.ports import Hypothesis


class ScriptedTranscriptStream:
    """A stream of `ScriptedTranscriber`."""

    def __init__(self, owner: ScriptedTranscriber, text: str | None, on_partial: Callable[[Hypothesis], None]) -> None:
        self._owner = owner
        self._text = text
        self._on_partial = on_partial
        self._loop = asyncio.get_running_loop()
        self._bytes = 0
        self._words_shown = 0
        self._finalizing: set[asyncio.Task[Hypothesis]] = set()
        self._is_closed = False

    @property
    def _audio_ms(self) -> int:
        return PCM_16K.ms_of(self._bytes)

    def push(self, pcm_16k: bytes) -> None:
        if self._is_closed:
            return
        self._bytes += len(pcm_16k)
        if self._text is None:
            return
        words = self._text.split()
        heard = min(len(words), self._audio_ms // self._owner.ms_per_word)
        if heard > self._words_shown:
            self._words_shown = heard
            stable = " ".join(words[: heard - 1])
            self._loop.call_soon(self._deliver, Hypothesis(" ".join(words[:heard]), len(stable), self._audio_ms))

    def _deliver(self, hypothesis: Hypothesis) -> None:
        if not self._is_closed:
            self._on_partial(hypothesis)

    async def finalize(self) -> Hypothesis:
        if self._is_closed:
            raise EngineError(Component.TRANSCRIBER, "the stream is closed", retryable=False)
        task = asyncio.create_task(self._finalize())
        self._finalizing.add(task)
        try:
            return await task
        finally:
            task.cancel()
            self._finalizing.discard(task)

    async def _finalize(self) -> Hypothesis:
        audio_ms = self._audio_ms
        await self._owner.script.act()
        text = "" if audio_ms == 0 else self._text if self._text is not None else self._owner.text_for(audio_ms)
        return Hypothesis(text, len(text), audio_ms)

    async def aclose(self) -> None:
        self._is_closed = True
        for task in tuple(self._finalizing):
            task.cancel()


class ScriptedTranscriber:
    """Hears what it is told.

    Args:
        texts: one for each stream, in the order of opening. Partials grow by one word every `ms_per_word`.
        by_audio_ms: once `texts` are used up, the text is the entry with the nearest length, or "" without entries.
            There are no partials then, since the length is unknown before the end.
        ms_per_word: pace of the partials.
        script: delays and failures of `finalize`.
    """

    def __init__(
        self,
        texts: Iterable[str] = (),
        *,
        by_audio_ms: Mapping[int, str] | None = None,
        ms_per_word: int = 300,
        script: Script | None = None,
    ) -> None:
        self.texts = deque(texts)
        self.by_audio_ms = dict(by_audio_ms or {})
        self.ms_per_word = ms_per_word
        self.script = script or Script()

    def open(self, on_partial: Callable[[Hypothesis], None]) -> ScriptedTranscriptStream:
        return ScriptedTranscriptStream(self, self.texts.popleft() if self.texts else None, on_partial)

    def text_for(self, audio_ms: int) -> str:
        """Return the table's text for the length nearest to this one."""
        if not self.by_audio_ms:
            return ""
        return self.by_audio_ms[min(self.by_audio_ms, key=lambda length_ms: abs(length_ms - audio_ms))]

    def warm_up(self) -> None:
        """Nothing to warm."""

    def close(self) -> None:
        """Nothing to free."""
