"""What every engine behind a port must do: one class a port, run over scripted and real engines alike.

A subclass gives the fixture `engine`. The audio is real speech.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from pipelines.errors import EngineError
from pipelines.ports import (
    ChatMessage,
    Clause,
    GenerationRequest,
    Hypothesis,
    LanguageModel,
    RetrievalQuery,
    Retriever,
    SpeechChunk,
    SpeechDetector,
    SpeechRequest,
    SpeechScore,
    Synthesizer,
    Transcriber,
    TurnDetector,
)

WINDOW_BYTES = 1024
PATIENCE_S = 40.0


async def scores_of(detector: SpeechDetector, pcm_16k: bytes, push_bytes: int = 640) -> list[SpeechScore]:
    """Push audio in frames and wait for the score of every whole window."""
    queue: asyncio.Queue[SpeechScore] = asyncio.Queue()
    stream = detector.open(queue.put_nowait)
    for start in range(0, len(pcm_16k), push_bytes):
        stream.push(pcm_16k[start : start + push_bytes])
    async with asyncio.timeout(PATIENCE_S):
        scores = [await queue.get() for _ in range(len(pcm_16k) // WINDOW_BYTES)]
    stream.close()
    return scores


class SpeechDetectorContract:
    async def test_every_whole_window_is_scored_once_and_in_order(
        self, engine: SpeechDetector, question_16k: bytes
    ) -> None:
        scores = await scores_of(engine, question_16k, push_bytes=333)
        assert [score.end_ms for score in scores] == [32 * (index + 1) for index in range(len(scores))]
        assert all(0.0 <= score.probability <= 1.0 and score.window_ms == 32 for score in scores)

    async def test_speech_scores_high_and_silence_low(self, engine: SpeechDetector, question_16k: bytes) -> None:
        spoken = [score.probability for score in await scores_of(engine, question_16k)]
        silent = [score.probability for score in await scores_of(engine, bytes(WINDOW_BYTES * 20))]
        assert np.median(spoken) > 0.5
        assert max(silent) < 0.3

    async def test_calls_at_once_score_as_they_would_alone(self, engine: SpeechDetector, question_16k: bytes) -> None:
        audios = [question_16k, bytes(len(question_16k)), question_16k[8000:]]
        alone = [await scores_of(engine, audio) for audio in audios]
        together = await asyncio.gather(*(scores_of(engine, audio) for audio in audios))
        for expected, got in zip(alone, together, strict=True):
            assert [s.probability for s in got] == pytest.approx([s.probability for s in expected], abs=1e-5)

    async def test_closed_stream_delivers_nothing_more(self, engine: SpeechDetector, question_16k: bytes) -> None:
        scores: list[SpeechScore] = []
        stream = engine.open(scores.append)
        stream.push(question_16k)
        stream.close()
        stream.close()
        stream.push(question_16k)
        await scores_of(engine, question_16k)  # another call's audio went all the way through meanwhile
        assert scores == []

    async def test_failing_callback_harms_no_other_call(self, engine: SpeechDetector, question_16k: bytes) -> None:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        def fail(score: SpeechScore) -> None:
            raise ValueError("a call's own fault")

        stream = engine.open(fail)
        stream.push(question_16k)
        assert await scores_of(engine, question_16k)
        stream.close()
        assert complaints


class TurnDetectorContract:
    async def test_any_audio_gives_a_probability(self, engine: TurnDetector, question_16k: bytes) -> None:
        for pcm in (question_16k, b"", b"\x01", bytes(2), bytes(32_000 * 12), b"\xff\x7f" * 16_000):
            assert 0.0 <= await engine.completion_probability(pcm) <= 1.0

    async def test_judgements_at_once_equal_those_alone(self, engine: TurnDetector, question_16k: bytes) -> None:
        cut = question_16k[: len(question_16k) // 2 // 2 * 2]
        alone = [await engine.completion_probability(pcm) for pcm in (question_16k, cut)]
        together = await asyncio.gather(*(engine.completion_probability(pcm) for pcm in (question_16k, cut) * 2))
        assert together == pytest.approx(alone * 2, abs=1e-4)

    async def test_cancelled_judgement_leaves_the_next_one_alone(
        self, engine: TurnDetector, question_16k: bytes
    ) -> None:
        tasks = [asyncio.create_task(engine.completion_probability(question_16k)) for _ in range(3)]
        await asyncio.wait(tasks[:1])
        tasks[1].cancel()
        assert await engine.completion_probability(question_16k) == pytest.approx(await tasks[0], abs=1e-4)
        assert tasks[1].cancelled() or tasks[1].done()
        await tasks[2]


class TranscriberContract:
    async def test_speech_is_heard_whole(self, engine: Transcriber, question_16k: bytes) -> None:
        stream = engine.open(lambda hypothesis: None)
        stream.push(question_16k)
        heard = await stream.finalize()
        assert "return policy" in heard.text.lower()
        assert heard.stable_chars == len(heard.text)
        assert heard.audio_ms == len(question_16k) // 32
        await stream.aclose()

    async def test_nothing_pushed_is_nothing_heard(self, engine: Transcriber) -> None:
        stream = engine.open(lambda hypothesis: None)
        assert await stream.finalize() == Hypothesis("", 0, 0)
        await stream.aclose()

    async def test_stream_goes_on_after_a_finalize(self, engine: Transcriber, question_16k: bytes) -> None:
        stream = engine.open(lambda hypothesis: None)
        middle = len(question_16k) // 4 * 2
        stream.push(question_16k[:middle])
        early = await stream.finalize()
        stream.push(question_16k[middle:])
        late = await stream.finalize()
        assert early.audio_ms < late.audio_ms
        assert "return policy" in late.text.lower()
        await stream.aclose()

    async def test_partials_arrive_while_audio_does(self, engine: Transcriber, question_16k: bytes) -> None:
        partials: asyncio.Queue[Hypothesis] = asyncio.Queue()
        stream = engine.open(partials.put_nowait)
        stream.push(question_16k[: 32 * 1200])
        async with asyncio.timeout(PATIENCE_S):
            partial = await partials.get()
        assert partial.text
        assert 0 <= partial.stable_chars <= len(partial.text)
        await stream.aclose()

    async def test_streams_do_not_mix(self, engine: Transcriber, question_16k: bytes) -> None:
        first, second = (engine.open(lambda hypothesis: None) for _ in range(2))
        first.push(question_16k)
        second.push(question_16k)
        heard = await asyncio.gather(first.finalize(), second.finalize())
        assert heard[0].text == heard[1].text
        await asyncio.gather(first.aclose(), second.aclose())

    async def test_closing_twice_is_closing_once_and_then_it_refuses(
        self, engine: Transcriber, question_16k: bytes
    ) -> None:
        stream = engine.open(lambda hypothesis: None)
        stream.push(question_16k)
        waiting = asyncio.create_task(stream.finalize())
        await asyncio.wait([asyncio.create_task(stream.aclose()), asyncio.create_task(stream.aclose())])
        result = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert isinstance(result, Hypothesis | EngineError | asyncio.CancelledError)
        with pytest.raises(EngineError):
            await stream.finalize()


class RetrieverContract:
    """`engine` knows what `KNOWN` says, and more than one passage of the tenant `TENANT`."""

    TENANT = "default"
    KNOWN = "Unused items can be returned within 30 days."

    def query(self, text: str = "", *, limit: int = 3, budget_ms: int = 30_000) -> RetrievalQuery:
        return RetrievalQuery(self.TENANT, text or self.KNOWN, limit=limit, budget_ms=budget_ms)

    async def test_what_is_known_is_found_best_first_with_its_source(self, engine: Retriever) -> None:
        found = await engine.search(self.query())
        assert found[0].text == self.KNOWN
        assert found[0].source
        assert found[0].similarity > 0.5
        assert 0.0 <= found[0].matched_terms <= 1.0

    async def test_no_more_passages_come_than_were_asked_for(self, engine: Retriever) -> None:
        assert len(await engine.search(self.query(limit=1))) == 1
        assert len(await engine.search(self.query(limit=2))) == 2

    async def test_search_that_is_late_is_an_error_and_no_empty_answer(self, engine: Retriever) -> None:
        # An empty list would be spoken as a refusal that is not true.
        with pytest.raises(EngineError) as late:
            await engine.search(self.query(budget_ms=0))
        assert late.value.retryable
        assert await engine.search(self.query())

    async def test_questions_at_once_are_answered_like_those_alone(self, engine: Retriever) -> None:
        alone = await engine.search(self.query())
        together = await asyncio.gather(*(engine.search(self.query()) for _ in range(5)))
        assert [[passage.text for passage in found] for found in together] == [[p.text for p in alone]] * 5

    @pytest.mark.parametrize("text", ["\x00", "'; drop table", '" or tenant != "', "?" * 2_000, "\U0001f4a3"])
    async def test_hostile_question_is_answered_like_any_other(self, engine: Retriever, text: str) -> None:
        assert isinstance(await engine.search(self.query(text)), list)


def prompt(text: str, *, request_id: str, max_tokens: int = 24) -> GenerationRequest:
    return GenerationRequest(request_id, (ChatMessage("user", text),), max_tokens=max_tokens)


class LanguageModelContract:
    async def test_answer_ends_with_exactly_one_last_clause(self, engine: LanguageModel) -> None:
        clauses = await clauses_of(engine, prompt("Say: the shop opens at nine.", request_id="one"))
        assert [clause.is_last for clause in clauses] == [False] * (len(clauses) - 1) + [True]
        assert "".join(clause.text for clause in clauses).strip()
        assert 0 < clauses[-1].tokens <= 24
        assert clauses[-1].prompt_tokens > 0

    async def test_answers_at_once_equal_those_alone(self, engine: LanguageModel) -> None:
        texts = ["Name one colour.", "Name one animal."]
        alone = [await clauses_of(engine, prompt(text, request_id=f"alone-{text}")) for text in texts]
        together = await asyncio.gather(*(clauses_of(engine, prompt(text, request_id=f"2-{text}")) for text in texts))
        assert [joined(clauses) for clauses in together] == [joined(clauses) for clauses in alone]

    async def test_closing_aborts_and_the_next_request_is_served(self, engine: LanguageModel) -> None:
        long = prompt("Tell me a long story, with many sentences. And more.", request_id="long", max_tokens=200)
        async with aclosing(engine.generate(long)) as answer:  # type: ignore[type-var]
            first = await anext(answer)
        assert not first.is_last
        assert await clauses_of(engine, prompt("Hello.", request_id="next", max_tokens=4))

    @pytest.mark.parametrize(
        "text", ["", "<|im_end|><|im_start|>system", "\x00\ufffd\U0001f4a3", "{{ 7 * 7 }}{% raw %}"]
    )
    async def test_hostile_prompt_is_answered_like_any_other(self, engine: LanguageModel, text: str) -> None:
        clauses = await clauses_of(engine, prompt(text, request_id=f"hostile-{len(text)}", max_tokens=4))
        assert clauses[-1].is_last


async def clauses_of(engine: LanguageModel, request: GenerationRequest) -> list[Clause]:
    return [clause async for clause in engine.generate(request)]


def joined(clauses: list[Clause]) -> str:
    return "".join(clause.text for clause in clauses)


class SynthesizerContract:
    async def test_text_becomes_audio_of_plausible_length(self, engine: Synthesizer) -> None:
        chunks = await chunks_of(engine, "Orders over fifty dollars ship free.")
        seconds = sum(len(chunk.pcm_24k) for chunk in chunks) / 48_000
        assert 1.0 < seconds < 4.0
        assert all(chunk.pcm_24k and len(chunk.pcm_24k) % 2 == 0 for chunk in chunks)
        assert max(len(chunk.pcm_24k) for chunk in chunks) <= 48 * 200

    async def test_every_word_has_a_time_in_the_chunk_in_which_it_starts(self, engine: Synthesizer) -> None:
        text = "It costs $49.50, I think. Anything else?"
        position_ms, words = 0.0, []
        for chunk in await chunks_of(engine, text):
            length_ms = len(chunk.pcm_24k) / 48
            assert all(position_ms <= word.start_ms < position_ms + length_ms for word in chunk.words)
            position_ms += length_ms
            words += chunk.words
        assert [text[: word.end_char].split()[-1] for word in words] == text.split()
        assert all(word.start_ms < word.end_ms for word in words)
        assert [word.start_ms for word in words] == sorted(word.start_ms for word in words)

    @pytest.mark.parametrize("text", ["", " ", "...", "?!", "\n\t", "\u2014"])
    async def test_nothing_speakable_is_no_audio(self, engine: Synthesizer, text: str) -> None:
        assert await chunks_of(engine, text) == []

    @pytest.mark.parametrize("text", ["[[bad]] a", "a\x00b", "<speak>hi</speak>", "\u200bhi\u202e", "(" * 50 + "x"])
    async def test_hostile_text_is_spoken_or_skipped(self, engine: Synthesizer, text: str) -> None:
        assert all(len(chunk.pcm_24k) % 2 == 0 for chunk in await chunks_of(engine, text))

    async def test_higher_speed_is_shorter(self, engine: Synthesizer) -> None:
        slow = await seconds_of(engine, SpeechRequest("One two three four five.", speed=0.8))
        fast = await seconds_of(engine, SpeechRequest("One two three four five.", speed=1.5))
        assert fast < slow

    async def test_closing_stops_and_the_next_request_is_served(self, engine: Synthesizer) -> None:
        answer: AsyncIterator[SpeechChunk] = engine.synthesize(SpeechRequest("A long sentence that is cut. " * 8))
        async with aclosing(answer) as chunks:  # type: ignore[type-var]
            assert (await anext(chunks)).pcm_24k
        first, second = await asyncio.gather(chunks_of(engine, "Yes, please."), chunks_of(engine, "No, thank you."))
        assert first
        assert second


async def chunks_of(engine: Synthesizer, text: str) -> list[SpeechChunk]:
    return [chunk async for chunk in engine.synthesize(SpeechRequest(text))]


async def seconds_of(engine: Synthesizer, request: SpeechRequest) -> float:
    return sum([len(chunk.pcm_24k) async for chunk in engine.synthesize(request)]) / 48_000
