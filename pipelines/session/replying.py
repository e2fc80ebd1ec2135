"""The agent's side: turns a question into clauses, audio and the end of the response.

A reply begins either as a draft (made on speculation, with its output held back) or as a response that the client knows
of; `transitions.py` defines its phases. Results from engines reach it only if they carry its generation. All others are
stale and dropped here.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.audio.pcm import SAMPLE_BYTES
from pipelines.session import conversation
from pipelines.session.change import Change
from pipelines.session.effects import (
    AnswerAudio,
    AnswerItemStarted,
    AnswerText,
    CancelGeneration,
    ResponseFinished,
    ResponseStarted,
    ResponseStatus,
    StartAnswer,
    Synthesize,
)
from pipelines.session.items import Item, ItemStatus, Role, WordMark
from pipelines.session.settings import Modality
from pipelines.session.state import Reply, SessionState
from pipelines.session.stimuli import (
    AnswerFailed,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    ItemTruncateRequested,
    ResponseCancelRequested,
    ResponseCreateRequested,
    SynthesisFailed,
)
from pipelines.session.transitions import ReplyPhase, Step

_WRITING = frozenset({ReplyPhase.DRAFTING, ReplyPhase.PREPARING, ReplyPhase.SPEAKING})
_HELD_BACK = frozenset({ReplyPhase.DRAFTING, ReplyPhase.DRAFTED})
_NOT_SHOWN = frozenset({ReplyPhase.PREPARING, ReplyPhase.PREPARED})
_SHOWN = frozenset({ReplyPhase.SPEAKING, ReplyPhase.FINISHING})


def draft(change: Change, generation: int, transcript: str) -> Reply:
    """Start a speculative answer before the turn is known to be over."""
    reply = _new_reply(change, generation, ResponseCreateRequested())
    _start_answer(change, reply, transcript)
    return reply


def drop(change: Change, draft: Reply) -> None:
    """Stop a draft, of which nobody has seen anything."""
    change.step_reply(draft, Step.REPLY_ENDED)
    change.emit(CancelGeneration(draft.generation))


def answer_turn(change: Change, item_id: str, reply: Reply | None) -> None:
    """Answer the turn that was just committed, with the draft if there is one."""
    state = change.state
    if state.reply is not None:
        state.queued_item_id = item_id
        if reply is not None:
            drop(change, reply)
        return
    if reply is None:
        reply = _new_reply(change, change.new_generation(), ResponseCreateRequested())
        reply.asked_item_id = item_id
        reply.awaited_item_id = item_id if item_id in state.awaited else None
    _open(change, reply)


def create(change: Change, request: ResponseCreateRequested) -> None:
    """Answer because the client asked for it."""
    state = change.state
    if state.reply is not None:
        message = f"The conversation already has an active response in progress: {state.reply.response_id}."
        change.refuse("conversation_already_has_active_response", message, event_id=request.event_id)
        return
    reply = _new_reply(change, change.new_generation(), request)
    if not request.is_out_of_band or request.input_items is None:
        reply.awaited_item_id = next(reversed(state.awaited), None)
    _open(change, reply)


def cancel(change: Change, request: ResponseCancelRequested) -> None:
    """Stop the response in progress because the client asked for it."""
    reply = change.state.reply
    if reply is None or (request.response_id and request.response_id != reply.response_id):
        message = "Cancellation failed: no such active response found."
        change.refuse("response_cancel_not_active", message, param="response_id", event_id=request.event_id)
        return
    _finish(change, reply, ResponseStatus.CANCELLED, "client_cancelled")
    _answer_queued(change)


def interrupt(change: Change) -> None:
    """Stop the response because the caller began to speak, and note how much of its audio can have been heard."""
    state = change.state
    state.queued_item_id = ""
    if state.reply is not None:
        _finish(change, state.reply, ResponseStatus.CANCELLED, "turn_detected")
    index = conversation.index_of(state.items, state.playout_item_id)
    if index is not None:
        item, played_ms = state.items[index], change.now_ms - state.playout_at_ms
        sent_ms = item.audio_ms if item.heard_ms is None else item.heard_ms
        if played_ms < sent_ms:
            state.items[index] = replace(item, heard_ms=max(played_ms, 0))
    state.playout_item_id = ""


def stop_before_truncation(change: Change, request: ItemTruncateRequested) -> None:
    """Stop the response if the client truncates its item, since it does not want the rest."""
    reply = change.state.reply
    if reply is not None and reply.item_id == request.item_id and reply.audio_ms:
        _finish(change, reply, ResponseStatus.CANCELLED, "client_cancelled")


def transcript_arrived(change: Change, item_id: str) -> None:
    """Start the answer that waited for this transcript. If the turn had no words, its response ends without output."""
    reply = change.state.reply
    if reply is None or reply.awaited_item_id != item_id:
        return
    reply.awaited_item_id = None
    reply.progress_at_ms = change.now_ms
    if not _start_answer(change, reply, must_ask=True):
        _finish(change, reply, ResponseStatus.COMPLETED)
        _answer_queued(change)


def transcript_failed(change: Change, item_id: str, message: str) -> None:
    """End the response that waited for this transcript."""
    reply = change.state.reply
    if reply is not None and reply.awaited_item_id == item_id:
        _fail(change, reply, message)


def hear_clause(change: Change, clause: ClauseReady) -> None:
    """Emit the next piece of text and have it spoken."""
    reply = _live_reply(change, clause.generation)
    if reply is None or reply.phase not in _WRITING:
        return
    reply.input_tokens, reply.output_tokens = clause.prompt_tokens, clause.tokens
    if clause.text.strip() and reply.clauses_again:
        reply.clauses_again -= 1
        reply.progress_at_ms = change.now_ms
    elif clause.text.strip():
        reply.clauses.append(clause.text)
        _put_out(change, reply, AnswerText(reply.response_id, reply.item_id, reply.modality, clause.text))
        if reply.modality is Modality.AUDIO:
            order = Synthesize(reply.generation, len(reply.clauses) - 1, clause.text, reply.voice, reply.speed)
            change.emit(order)
    if clause.is_last:
        change.step_reply(reply, Step.TEXT_COMPLETED)
    _finish_if_complete(change, reply)


def hear_audio(change: Change, audio: AudioReady) -> None:
    """Emit the next piece of audio. Clauses are spoken in order, so a piece of any other clause is dropped."""
    reply = _live_reply(change, audio.generation)
    if reply is None or audio.clause != reply.spoken or audio.clause >= len(reply.clauses):
        return
    pcm_24k = audio.pcm_24k[reply.samples_again * SAMPLE_BYTES :]
    if pcm_24k:
        _put_out(change, reply, AnswerAudio(reply.response_id, reply.item_id, pcm_24k))
    else:
        reply.progress_at_ms = change.now_ms
    known_ms, clause_start_ms = reply.clause_ms if reply.samples_again else 0, reply.audio_ms - reply.clause_ms
    reply.words += [
        WordMark(reply.clause_start_char + end_char, clause_start_ms + start_ms)
        for end_char, start_ms in audio.words
        if start_ms >= known_ms
    ]
    reply.samples_again -= (len(audio.pcm_24k) - len(pcm_24k)) // SAMPLE_BYTES
    reply.audio_samples += len(pcm_24k) // SAMPLE_BYTES


def hear_clause_end(change: Change, spoken: ClauseSpoken) -> None:
    """Note that a clause has been spoken to its end."""
    reply = _live_reply(change, spoken.generation)
    if reply is None or spoken.clause != reply.spoken or spoken.clause >= len(reply.clauses):
        return
    reply.clause_start_char += len(reply.clauses[spoken.clause])
    reply.clause_start_samples, reply.samples_again = reply.audio_samples, 0
    reply.spoken += 1
    _finish_if_complete(change, reply)


def hear_failure(change: Change, failed: AnswerFailed | SynthesisFailed) -> None:
    """Handle an engine's failure. A response fails; a draft is dropped, and the end of the turn tries again."""
    reply = _live_reply(change, failed.generation)
    if reply is None:
        return
    if reply.phase not in _HELD_BACK:
        _fail(change, reply, failed.message)
        return
    drop(change, reply)
    if change.state.utterance is not None:
        change.state.utterance.draft = None


def reply_deadline_ms(state: SessionState) -> int | None:
    """Return when the response in progress fails for lack of progress, or None."""
    reply = state.reply
    return None if reply is None else reply.progress_at_ms + state.settings.reply_timeout_ms


def end_stalled_reply(change: Change) -> None:
    """Fail the response in progress, because the reply deadline has passed."""
    if change.state.reply is not None:
        _fail(change, change.state.reply, "The answer took too long.")


def close(change: Change) -> None:
    """End the response in progress, because the session ends."""
    if change.state.reply is not None:
        _finish(change, change.state.reply, ResponseStatus.CANCELLED, "client_cancelled")


def _new_reply(change: Change, generation: int, request: ResponseCreateRequested) -> Reply:
    settings = change.state.settings
    return Reply(
        response_id=change.new_response_id(),
        item_id=change.new_item_id(),
        generation=generation,
        modality=request.modality or settings.modality,
        voice=request.voice or settings.voice,
        speed=settings.speed,
        progress_at_ms=change.now_ms,
        instructions=settings.instructions if request.instructions is None else request.instructions,
        max_output_tokens=request.max_output_tokens or settings.max_output_tokens,
        metadata=request.metadata,
        is_out_of_band=request.is_out_of_band,
        input_items=request.input_items,
    )


def _start_answer(change: Change, reply: Reply, addition: str = "", *, must_ask: bool = False) -> bool:
    """Order the answer (with `must_ask`, only if the caller has said something) and return whether it was ordered."""
    items = change.state.items if reply.input_items is None else list(reply.input_items)
    question, history = conversation.question_and_history(items, addition)
    if not question and reply.asked_item_id is not None:
        index = conversation.index_of(items, reply.asked_item_id)
        question = "" if index is None else (items[index].text or "").strip()
    if must_ask and not question:
        return False
    change.step_reply(reply, Step.ANSWER_STARTED)
    reply.asked = StartAnswer(reply.generation, question, history, reply.instructions, reply.max_output_tokens)
    change.emit(reply.asked)
    return True


def _open(change: Change, reply: Reply) -> None:
    """Make the reply the response in progress, then release what a draft held back or start the answer if possible."""
    change.step_reply(reply, Step.REPLY_OPENED)
    change.state.reply = reply
    reply.progress_at_ms = change.now_ms
    change.emit(
        ResponseStarted(
            reply.response_id, reply.modality, reply.voice, reply.metadata, reply.is_out_of_band, reply.generation
        )
    )
    held, reply.held = reply.held, []
    for output in held:
        _put_out(change, reply, output)
    _finish_if_complete(change, reply)
    if reply.phase is ReplyPhase.WAITING and reply.awaited_item_id is None:
        _start_answer(change, reply)


def _put_out(change: Change, reply: Reply, output: AnswerText | AnswerAudio) -> None:
    if reply.phase in _HELD_BACK:
        reply.progress_at_ms = change.now_ms
        reply.held.append(output)
        return
    is_first = reply.phase in _NOT_SHOWN
    change.step_reply(reply, Step.REPLY_OUTPUT)
    reply.progress_at_ms = change.now_ms
    if is_first:
        _announce_item(change, reply)
    if isinstance(output, AnswerAudio) and reply.first_audio_at_ms is None:
        reply.first_audio_at_ms = change.now_ms
        change.state.playout_item_id, change.state.playout_at_ms = reply.item_id, change.now_ms
    change.emit(output)


def _announce_item(change: Change, reply: Reply) -> None:
    previous = None
    if not reply.is_out_of_band:
        is_audio = reply.modality is Modality.AUDIO
        item = Item(reply.item_id, Role.ASSISTANT, text="", is_audio=is_audio, status=ItemStatus.IN_PROGRESS)
        previous = conversation.append(change, item)
    change.emit(AnswerItemStarted(reply.response_id, reply.item_id, previous, reply.modality))


def _live_reply(change: Change, generation: int) -> Reply | None:
    """Return the reply that `generation` belongs to, or None if the result is stale."""
    state = change.state
    if state.reply is not None and state.reply.generation == generation:
        return state.reply
    if state.utterance is not None and state.utterance.draft is not None:
        candidate = state.utterance.draft
        return candidate if candidate.generation == generation else None
    return None


def _finish_if_complete(change: Change, reply: Reply) -> None:
    if reply.is_complete:
        _finish(change, reply, ResponseStatus.COMPLETED)
        _answer_queued(change)


def _fail(change: Change, reply: Reply, message: str) -> None:
    _finish(change, reply, ResponseStatus.FAILED, error=message)
    _answer_queued(change)


def _finish(change: Change, reply: Reply, status: ResponseStatus, reason: str = "", *, error: str = "") -> None:
    is_shown = reply.phase in _SHOWN
    change.step_reply(reply, Step.REPLY_ENDED)
    change.state.reply = None
    item = _final_item(reply, status) if is_shown else None
    if item is not None and not reply.is_out_of_band:
        conversation.put(change, item)
    if status is not ResponseStatus.COMPLETED:
        change.emit(CancelGeneration(reply.generation))
    change.emit(
        ResponseFinished(
            reply.response_id, status, reason, item, reply.modality, reply.voice, reply.metadata,
            reply.is_out_of_band, reply.input_tokens, reply.output_tokens, error,
        )
    )  # fmt: skip


def _final_item(reply: Reply, status: ResponseStatus) -> Item:
    is_whole = status is ResponseStatus.COMPLETED
    return Item(
        reply.item_id,
        Role.ASSISTANT,
        text=reply.text,
        is_audio=reply.modality is Modality.AUDIO,
        audio_ms=reply.audio_ms,
        # Text whose audio was never sent cannot have been heard.
        heard_ms=None if is_whole or reply.modality is Modality.TEXT else reply.audio_ms,
        words=tuple(reply.words),
        status=ItemStatus.COMPLETED if is_whole else ItemStatus.INCOMPLETE,
    )


def _answer_queued(change: Change) -> None:
    """Answer the turn that ended while another response was in progress."""
    state = change.state
    if not state.queued_item_id or state.reply is not None:
        return
    item_id, state.queued_item_id = state.queued_item_id, ""
    answer_turn(change, item_id, None)
