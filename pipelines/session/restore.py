"""Going on with a session in another process: which orders have to be given again.

What the engines were doing when the state was taken is lost with the process, and none of it can be taken over. So each
order whose result is still awaited is given once more, under its generation: the core takes the result as if it came
late. Of an answer it leaves out what it has already: clauses by their number, audio by its length.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.session.effects import FinalizeTranscript, JudgeTurn, OpenUtterance, Order, SealUtterance, Synthesize
from pipelines.session.settings import Modality
from pipelines.session.state import Reply, SessionState, Utterance
from pipelines.session.transitions import ReplyPhase

_WRITING = frozenset({ReplyPhase.DRAFTING, ReplyPhase.PREPARING, ReplyPhase.SPEAKING})


def orders_again(state: SessionState) -> list[Order]:
    """Return the orders that bring what `state` waits for, and note in it what of their results is known."""
    orders: list[Order] = []
    for item_id, awaited in state.awaited.items():
        orders += OpenUtterance(item_id, awaited.start_ms, awaited.end_ms), SealUtterance(item_id)
        orders.append(FinalizeTranscript(item_id, awaited.generation))
    if state.utterance is not None:
        orders += _of_utterance(state.utterance)
    if state.reply is not None:
        orders += _of_reply(state.reply)
    return orders


def _of_utterance(utterance: Utterance) -> Iterator[Order]:
    yield OpenUtterance(utterance.item_id, utterance.start_ms)
    if utterance.generation is None:
        return
    if utterance.is_recognising:
        yield FinalizeTranscript(utterance.item_id, utterance.generation)
    if utterance.judged_silence_ms:
        end_ms = utterance.speech_end_ms + utterance.judged_silence_ms
        yield JudgeTurn(utterance.generation, utterance.start_ms, end_ms)
    if utterance.draft is not None:
        yield from _of_reply(utterance.draft)


def _of_reply(reply: Reply) -> Iterator[Order]:
    if reply.phase in _WRITING and reply.asked is not None:
        reply.clauses_again = len(reply.clauses)
        yield reply.asked
    if reply.modality is Modality.AUDIO:
        reply.samples_again = reply.audio_samples - reply.clause_start_samples
        for clause in range(reply.spoken, len(reply.clauses)):
            yield Synthesize(reply.generation, clause, reply.clauses[clause], reply.voice, reply.speed)
