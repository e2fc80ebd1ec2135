"""The caller's side: turns speech scores and commits into utterances, turns and transcripts.

Timeline of a turn found by voice activity (semantic_vad):

    speech ......... silence
    |--------------|-------|--------|------------|
    ^              ^       ^        ^            ^
    started        paused  |        min_silence  max_silence: over whatever it sounded like
                           speculation: recognise, judge, draft an answer (held back)

The turn ends at the first moment from min_silence on when the turn model is sure, or the recogniser itself considers
the utterance finished (few do), or the words are a question. If the caller resumes before that, everything the pause
started is cancelled and its late results are dropped by generation.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.session import conversation, replying
from pipelines.session.change import Change
from pipelines.session.effects import (
    AudioCleared,
    AudioCommitted,
    CancelGeneration,
    CloseUtterance,
    FinalizeTranscript,
    ItemAdded,
    JudgeTurn,
    OpenUtterance,
    PartialTranscript,
    SealUtterance,
    SpeechStarted,
    SpeechStopped,
    TranscriptCompleted,
    TranscriptUnavailable,
)
from pipelines.session.items import Item, Role
from pipelines.session.settings import TurnDetection
from pipelines.session.state import Awaited, SessionState, Utterance
from pipelines.session.stimuli import (
    AudioAppended,
    AudioClearRequested,
    AudioCommitRequested,
    SpeechScored,
    TranscriptFailed,
    TranscriptHeard,
    TranscriptReady,
    TurnJudged,
)
from pipelines.session.transitions import InputState, Step
from pipelines.session.turn_policy import (
    is_turn_over,
    is_voiced,
    latest_silence_ms,
    wants_judgement,
    wants_speculation,
)

MIN_COMMIT_MS = 100
# A client that stops sending audio (push to talk, muted) counts as silent too, but its frames may just be late.
MUTED_GRACE_MS = 250


def hear_audio(change: Change, audio: AudioAppended) -> None:
    """Account for audio that arrived. With manual turns it opens an utterance; otherwise speech scores do."""
    state = change.state
    begins_turn = state.settings.turn_detection is None and state.utterance is None
    if begins_turn:
        change.keep()
    begin_ms, state.appended_ms, state.appended_at_ms = state.appended_ms, audio.end_ms, change.now_ms
    if begins_turn:
        _open_utterance(change, start_ms=min(begin_ms, audio.end_ms))


def hear_score(change: Change, score: SpeechScored) -> None:
    """Follow the caller's voice."""
    state, detection = change.state, change.state.settings.turn_detection
    if detection is None or score.end_ms <= state.buffer_start_ms:
        state.scored_ms = score.end_ms
        return
    voiced = is_voiced(score.probability, detection, is_speaking=state.input is InputState.SPEAKING)
    if state.input is InputState.QUIET:
        _listen_for_start(change, detection, voiced, score)
    elif state.utterance is not None:
        _follow_utterance(change, detection, state.utterance, voiced, score)


def _listen_for_start(change: Change, detection: TurnDetection, voiced: bool, score: SpeechScored) -> None:
    state = change.state
    voiced_ms = state.voiced_ms + score.window_ms if voiced else 0
    has_begun = voiced and voiced_ms >= detection.min_speech_ms
    if has_begun:
        change.keep()
    state.scored_ms, state.voiced_ms = score.end_ms, voiced_ms
    if not has_begun:
        return
    began_ms = score.end_ms - voiced_ms
    utterance = _open_utterance(change, start_ms=max(began_ms - detection.prefix_padding_ms, state.buffer_start_ms, 0))
    utterance.speech_end_ms = score.end_ms
    change.emit(SpeechStarted(utterance.item_id, utterance.start_ms))
    if detection.interrupt_response:
        replying.interrupt(change)


def _follow_utterance(
    change: Change, detection: TurnDetection, utterance: Utterance, voiced: bool, score: SpeechScored
) -> None:
    state = change.state
    is_too_long = score.end_ms - utterance.start_ms >= state.settings.max_utterance_ms
    goes_on = voiced and state.input is InputState.SPEAKING and not is_too_long
    if not goes_on:
        change.keep()
    state.scored_ms = score.end_ms
    if goes_on:
        utterance.speech_end_ms = score.end_ms
    elif is_too_long:
        _end_turn(change, utterance)
    else:
        _follow_pause(change, detection, utterance, voiced, score)


def _follow_pause(
    change: Change, detection: TurnDetection, utterance: Utterance, voiced: bool, score: SpeechScored
) -> None:
    if change.state.input is InputState.SPEAKING:
        change.step_input(Step.SPEECH_PAUSED)
        utterance.resume_ms = 0
    elif voiced:
        utterance.resume_ms += score.window_ms
        if utterance.resume_ms >= detection.min_speech_ms:
            _resume(change, utterance, score)
    else:
        utterance.resume_ms = 0
    if change.state.input is InputState.PAUSED:
        _advance_pause(change, detection, utterance)


def _resume(change: Change, utterance: Utterance, score: SpeechScored) -> None:
    change.step_input(Step.SPEECH_RESUMED)
    _drop_pause(change, utterance)
    utterance.speech_end_ms = score.end_ms
    utterance.resume_ms = 0


def _advance_pause(change: Change, detection: TurnDetection, utterance: Utterance) -> None:
    silence_ms = change.state.scored_ms - utterance.speech_end_ms
    if _is_over(detection, utterance, silence_ms):
        _end_turn(change, utterance)
        return
    if utterance.generation is None and wants_speculation(silence_ms, detection):
        utterance.generation = change.new_generation()
        utterance.is_recognising = True
        change.emit(FinalizeTranscript(utterance.item_id, utterance.generation))
    if utterance.generation is not None and wants_judgement(silence_ms, utterance.judged_silence_ms, detection):
        utterance.judged_silence_ms = silence_ms
        change.emit(JudgeTurn(utterance.generation, utterance.start_ms, change.state.scored_ms))


def _is_over(detection: TurnDetection, utterance: Utterance, silence_ms: int) -> bool:
    if utterance.resume_ms:  # a voiced window within the pause: wait to see whether speech resumes
        return False
    return is_turn_over(
        silence_ms,
        detection,
        completion=utterance.completion,
        transcript=utterance.transcript,
        is_ended=utterance.ended_ms >= utterance.speech_end_ms,
    )


def hear_judgement(change: Change, judged: TurnJudged) -> None:
    """Take the turn model's answer, which may end the turn."""
    utterance, detection = change.state.utterance, change.state.settings.turn_detection
    if utterance is None or utterance.generation != judged.generation or detection is None:
        return
    utterance.completion = judged.probability
    if change.state.input is InputState.PAUSED:
        _advance_pause(change, detection, utterance)


def hear_partial(change: Change, heard: TranscriptHeard) -> None:
    """Show the open utterance's text so far. If the recogniser considers it finished, the turn may end."""
    utterance, detection = change.state.utterance, change.state.settings.turn_detection
    if utterance is None or utterance.item_id != heard.item_id:
        return
    if heard.ended_ms is None:
        change.emit(PartialTranscript(heard.item_id, heard.text, heard.stable_chars))
        return
    utterance.ended_ms = heard.ended_ms
    if detection is not None and change.state.input is InputState.PAUSED:
        _advance_pause(change, detection, utterance)


def hear_transcript(change: Change, ready: TranscriptReady) -> None:
    """Take the transcript of a committed utterance, or of a pause, which may start a draft or end the turn."""
    state, utterance = change.state, change.state.utterance
    if _is_awaited(state, ready.item_id, ready.generation):
        change.emit(CloseUtterance(ready.item_id))
        del state.awaited[ready.item_id]
        _complete_transcript(change, ready.item_id, ready.text)
        replying.transcript_arrived(change, ready.item_id)
        return
    if utterance is None or utterance.item_id != ready.item_id or utterance.generation != ready.generation:
        return
    utterance.transcript, utterance.is_recognising = ready.text, False
    if ready.ends_utterance:
        utterance.ended_ms = utterance.speech_end_ms
    detection = state.settings.turn_detection
    if detection is None or state.input is not InputState.PAUSED:
        return
    if ready.text.strip() and detection.create_response and state.settings.speculate and state.reply is None:
        utterance.draft = replying.draft(change, ready.generation, ready.text)
    _advance_pause(change, detection, utterance)


def hear_transcript_failure(change: Change, failed: TranscriptFailed) -> None:
    """Handle failed recognition. In a pause nothing is lost, because the commit asks again."""
    state, utterance = change.state, change.state.utterance
    if _is_awaited(state, failed.item_id, failed.generation):
        del state.awaited[failed.item_id]
        change.emit(CloseUtterance(failed.item_id))
        change.emit(TranscriptUnavailable(failed.item_id, failed.message))
        replying.transcript_failed(change, failed.item_id, failed.message)
    elif utterance is not None and utterance.generation == failed.generation:
        utterance.is_recognising = False


def commit(change: Change, request: AudioCommitRequested) -> None:
    """End the caller's turn because the client committed it."""
    state = change.state
    if state.appended_ms - state.buffer_start_ms < MIN_COMMIT_MS:
        message = f"The input audio buffer holds less than {MIN_COMMIT_MS} ms of audio."
        change.refuse("input_audio_buffer_commit_empty", message, event_id=request.event_id)
        return
    utterance = state.utterance or _open_utterance(change, start_ms=state.buffer_start_ms)
    _commit_utterance(change, utterance, end_ms=state.appended_ms)


def clear(change: Change, _request: AudioClearRequested | None = None) -> None:
    """Discard the uncommitted audio at the client's request."""
    discard(change)
    change.emit(AudioCleared())


def discard(change: Change) -> None:
    """Discard the open utterance and the uncommitted audio without telling the client."""
    state, utterance = change.state, change.state.utterance
    change.step_input(Step.INPUT_DISCARDED)
    if utterance is not None:
        _drop_pause(change, utterance)
        change.emit(CloseUtterance(utterance.item_id))
        state.utterance = None
    state.buffer_start_ms = state.appended_ms
    state.voiced_ms = 0


def pause_deadline_ms(state: SessionState) -> int | None:
    """Return when the turn ends if the client sends no more audio, or None."""
    detection = state.settings.turn_detection
    if detection is None or state.utterance is None or state.input is InputState.QUIET:
        return None
    silence_ms = max(state.scored_ms - state.utterance.speech_end_ms, 0)
    missing_ms = max(latest_silence_ms(detection) - silence_ms, 0)
    return state.appended_at_ms + missing_ms + MUTED_GRACE_MS


def end_muted_turn(change: Change) -> None:
    """End the caller's turn, because the pause deadline has passed."""
    if change.state.utterance is not None:
        _end_turn(change, change.state.utterance)


def _open_utterance(change: Change, *, start_ms: int) -> Utterance:
    change.step_input(Step.UTTERANCE_OPENED)
    start_ms = max(start_ms, change.state.appended_ms - change.state.settings.max_utterance_ms)
    utterance = Utterance(item_id=change.new_item_id(), start_ms=start_ms, speech_end_ms=start_ms)
    change.state.utterance = utterance
    change.state.voiced_ms = 0
    change.emit(OpenUtterance(utterance.item_id, start_ms))
    return utterance


def _end_turn(change: Change, utterance: Utterance) -> None:
    """End a turn found by voice activity, and answer it if the settings ask for that."""
    detection = change.state.settings.turn_detection
    end_ms = max(change.state.scored_ms, utterance.speech_end_ms)
    change.emit(SpeechStopped(utterance.item_id, end_ms))
    draft, utterance.draft = utterance.draft, None
    text = utterance.transcript
    _commit_utterance(change, utterance, end_ms=end_ms)
    if detection is None or not detection.create_response:
        if draft is not None:
            replying.drop(change, draft)
    elif text is None or text.strip():
        replying.answer_turn(change, utterance.item_id, draft)


def _commit_utterance(change: Change, utterance: Utterance, *, end_ms: int) -> None:
    state = change.state
    change.step_input(Step.TURN_ENDED)
    if utterance.draft is not None:
        replying.drop(change, utterance.draft)
        utterance.draft = None
    item = Item(utterance.item_id, Role.USER, is_audio=True, audio_ms=max(end_ms - utterance.start_ms, 0))
    previous = conversation.append(change, item)
    state.utterance = None
    state.buffer_start_ms = end_ms
    change.emit(AudioCommitted(item.id, previous))
    change.emit(ItemAdded(item, previous))
    if utterance.transcript is not None:
        change.emit(CloseUtterance(item.id))
        _complete_transcript(change, item.id, utterance.transcript)
        return
    if utterance.generation is None or not utterance.is_recognising:
        utterance.generation = change.new_generation()
        change.emit(FinalizeTranscript(item.id, utterance.generation))
    state.awaited[item.id] = Awaited(utterance.generation, utterance.start_ms, state.appended_ms)
    change.emit(SealUtterance(item.id))


def _is_awaited(state: SessionState, item_id: str, generation: int) -> bool:
    awaited = state.awaited.get(item_id)
    return awaited is not None and awaited.generation == generation


def _complete_transcript(change: Change, item_id: str, text: str) -> None:
    items = change.state.items
    index = conversation.index_of(items, item_id)
    if index is None:  # the client deleted the item while it was being recognised
        return
    items[index] = replace(items[index], text=text)
    change.emit(TranscriptCompleted(item_id, text, items[index].audio_ms))


def _drop_pause(change: Change, utterance: Utterance) -> None:
    """Drop what the pause started. Its generation is over, so late results are stale."""
    if utterance.draft is not None:
        change.step_reply(utterance.draft, Step.REPLY_ENDED)
    if utterance.generation is not None:
        change.emit(CancelGeneration(utterance.generation))
    utterance.generation = None
    utterance.is_recognising = False
    utterance.judged_silence_ms = 0
    utterance.completion = None
    utterance.transcript = None
    utterance.draft = None
