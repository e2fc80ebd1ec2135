"""Continues a session in another process: determines which orders have to be given again.

Whatever the engines were doing when the state was saved is lost with their process. Each order whose result is still
awaited is therefore given once more under its own generation, and the core takes the result as if it came late. It
skips the parts of an answer that it already has: clauses by number, audio by length.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.session.effects import FinalizeTranscript, JudgeTurn, OpenUtterance, Order, SealUtterance, Synthesize
from pipelines.session.settings import Modality
from pipelines.session.state import Reply, SessionState, Utterance
from pipelines.session.transitions import ReplyPhase

_WRITING = frozenset({ReplyPhase.DRAFTING, ReplyPhase.PREPARING, ReplyPhase.SPEAKING})


def orders_again(state: SessionState) -> list[Order]:
    """Return the orders whose results `state` waits for, and record there which parts have arrived already."""
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
