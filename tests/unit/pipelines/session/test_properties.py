"""Random stimulus sequences, with engines that answer late, out of order, twice or never.

Every result is stamped with the generation that it belongs to, so that a stale one is recognised when it is put out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pipelines.call.snapshot import dump_state, load_state
from pipelines.errors import IllegalTransition
from pipelines.session.core import Session
from pipelines.session.effects import (
    AnswerAudio,
    AnswerItemStarted,
    AnswerText,
    AudioCommitted,
    CancelGeneration,
    CloseUtterance,
    Effect,
    FinalizeTranscript,
    ItemDeleted,
    JudgeTurn,
    OpenUtterance,
    ResponseFinished,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    StartAnswer,
    Synthesize,
    TranscriptCompleted,
    TranscriptUnavailable,
)
from pipelines.session.items import Item, Role
from pipelines.session.settings import Modality
from pipelines.session.stimuli import (
    AnswerFailed,
    AudioAppended,
    AudioClearRequested,
    AudioCommitRequested,
    AudioReady,
    ClauseReady,
    ClauseSpoken,
    ItemCreateRequested,
    ItemDeleteRequested,
    ItemRetrieveRequested,
    ItemTruncateRequested,
    ResponseCancelRequested,
    ResponseCreateRequested,
    SessionClosed,
    SettingsChanged,
    SpeechScored,
    Stimulus,
    SynthesisFailed,
    TranscriptFailed,
    TranscriptHeard,
    TranscriptReady,
    TurnJudged,
)
from pipelines.session.transitions import InputState, ReplyPhase
from tests.unit.pipelines.session.pair import MANUAL, SEMANTIC, VAD, WINDOW_MS

pytestmark = pytest.mark.unit

SETTINGS = st.sampled_from([VAD, SEMANTIC, MANUAL])


class SessionMachine(RuleBasedStateMachine):
    """A hostile world around one session. Invariants are checked on the effects as a client and a runner see them."""

    @initialize(base=SETTINGS, modality=st.sampled_from(Modality), interrupts=st.booleans(), speculates=st.booleans())
    def start(self, base, modality, interrupts, speculates) -> None:
        self.session = Session.start("s", self._settings(base, modality, interrupts, speculates))
        self.now_ms = 0
        self.orders: list[Effect] = []  # engine orders; each may be answered late, and (but for transcripts) repeatedly
        self.response_of: dict[int, str] = {}
        self.last_request: dict[str, int] = {}
        self.dead_generations: set[int] = set()
        self.in_progress: str | None = None
        self.started: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.open_streams: set[str] = set()
        self.committed: set[str] = set()
        self.transcribed: Counter[str] = Counter()
        self.deleted: set[str] = set()
        self.speech: list[str] = []

    @staticmethod
    def _settings(base, modality, interrupts, speculates):
        detection = base.turn_detection and replace(base.turn_detection, interrupt_response=interrupts)
        return replace(base, modality=modality, speculate=speculates, turn_detection=detection)

    def feed(self, stimulus: Stimulus) -> None:
        """Deliver to the session and to a copy restored from its snapshot: both must do the same."""
        twin = Session(load_state(dump_state(self.session.state)))
        effects = self.session.receive(stimulus, self.now_ms)
        assert twin.receive(stimulus, self.now_ms) == effects
        assert twin.state == self.session.state
        self.observe(effects)

    def observe(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._observe_response(effect)
            self._observe_utterance(effect)
            if isinstance(effect, FinalizeTranscript | JudgeTurn | StartAnswer | Synthesize):
                self.orders.append(effect)
            if isinstance(effect, FinalizeTranscript):
                self.last_request[effect.item_id] = effect.generation
            if isinstance(effect, StartAnswer | Synthesize):
                assert effect.generation not in self.dead_generations, "work ordered for a cancelled generation"
            if isinstance(effect, CancelGeneration):
                self.dead_generations.add(effect.generation)

    def _observe_response(self, effect: Effect) -> None:
        if isinstance(effect, ResponseStarted):
            assert self.in_progress is None, "two responses at once"
            self.in_progress = effect.response_id
            self.started[effect.response_id] += 1
        elif isinstance(effect, AnswerItemStarted | AnswerText | AnswerAudio):
            assert effect.response_id == self.in_progress, "output outside its response"
            self._check_stamp(effect)
        elif isinstance(effect, ResponseFinished):
            assert effect.response_id == self.in_progress
            self.in_progress = None
            self.finished[effect.response_id] += 1

    def _check_stamp(self, effect: AnswerItemStarted | AnswerText | AnswerAudio) -> None:
        """Output must carry the stamp of a generation that was ordered for this response and not cancelled."""
        if isinstance(effect, AnswerItemStarted):
            return
        is_text = isinstance(effect, AnswerText)
        stamp = int(effect.delta.split(":")[0]) if is_text else int.from_bytes(effect.pcm_24k[:4], "little")
        assert stamp not in self.dead_generations, "a stale result was spoken"
        assert self.response_of.setdefault(stamp, effect.response_id) == effect.response_id, "spoken in two responses"

    def _observe_utterance(self, effect: Effect) -> None:
        if isinstance(effect, OpenUtterance):
            assert effect.item_id not in self.open_streams
            self.open_streams.add(effect.item_id)
        elif isinstance(effect, CloseUtterance):
            self.open_streams.remove(effect.item_id)
        elif isinstance(effect, SpeechStarted):
            self.speech.append(effect.item_id)
        elif isinstance(effect, SpeechStopped):
            assert effect.item_id == self.speech[-1], "speech stopped that never started"
        elif isinstance(effect, AudioCommitted):
            assert effect.item_id not in self.committed
            self.committed.add(effect.item_id)
        elif isinstance(effect, TranscriptCompleted | TranscriptUnavailable):
            assert effect.item_id in self.committed
            self.transcribed[effect.item_id] += 1
            if isinstance(effect, TranscriptCompleted) and ":" in effect.text:
                stamp = int(effect.text.split(":")[0])
                assert stamp == self.last_request[effect.item_id], "a transcript of an earlier pause was taken"
        elif isinstance(effect, ItemDeleted):
            self.deleted.add(effect.item_id)

    # --- the client ---------------------------------------------------------------------------------------------------

    @rule(probability=st.sampled_from([0.0, 0.4, 0.9]), windows=st.integers(1, 16))
    def hear(self, probability, windows) -> None:
        for _ in range(windows):
            self.now_ms += WINDOW_MS
            end_ms = self.session.state.appended_ms + WINDOW_MS
            self.feed(AudioAppended(end_ms))
            self.feed(SpeechScored(probability, end_ms, WINDOW_MS))

    @rule(silent_windows=st.integers(3, 9))
    def pause(self, silent_windows) -> None:
        """Speak and stop: the place where most of the decisions are."""
        self.hear(0.9, 3)
        self.hear(0.0, silent_windows)

    @rule(goods=st.lists(st.booleans(), min_size=1, max_size=3), is_last=st.booleans())
    def answer_latest(self, goods, is_last) -> None:
        for good in goods:
            self.answer_order(0, good, is_last, "ok")

    @rule(duration_ms=st.integers(0, 3_000))
    def pass_time(self, duration_ms) -> None:
        end_ms = self.now_ms + duration_ms
        for _ in range(100):
            deadline_ms = self.session.next_deadline_ms()
            if deadline_ms is None or deadline_ms > end_ms:
                break
            self.now_ms = max(self.now_ms, deadline_ms)
            self.observe(self.session.on_deadline(self.now_ms))
        else:
            pytest.fail("a deadline that is due stays due")
        self.now_ms = end_ms

    @rule(base=SETTINGS, modality=st.sampled_from(Modality), interrupts=st.booleans(), speculates=st.booleans())
    def configure(self, base, modality, interrupts, speculates) -> None:
        self.feed(SettingsChanged(self._settings(base, modality, interrupts, speculates)))

    @rule(request=st.sampled_from([AudioCommitRequested(), AudioClearRequested()]))
    def use_buffer(self, request) -> None:
        self.feed(request)

    @rule(text=st.sampled_from(["hi", "", "where is it?"]), previous=st.sampled_from([None, "root", "nowhere"]))
    def create_item(self, text, previous) -> None:
        self.feed(ItemCreateRequested(Item("", Role.USER, text=text), previous))

    @rule(pick=st.integers(0, 9), end_ms=st.integers(0, 100), kind=st.sampled_from("rtd"))
    def use_item(self, pick, end_ms, kind) -> None:
        items = self.session.state.items
        item_id = items[-1 - pick].id if pick < len(items) else "nowhere"
        requests = {
            "r": ItemRetrieveRequested(item_id),
            "t": ItemTruncateRequested(item_id, 0, end_ms),
            "d": ItemDeleteRequested(item_id),
        }
        self.feed(requests[kind])

    @rule(is_out_of_band=st.booleans())
    def ask(self, is_out_of_band) -> None:
        self.feed(ResponseCreateRequested(is_out_of_band=is_out_of_band))

    @rule(response_id=st.sampled_from([None, "nowhere"]))
    def cancel(self, response_id) -> None:
        self.feed(ResponseCancelRequested(response_id))

    @rule(
        state=st.sampled_from(InputState),
        phase=st.sampled_from(ReplyPhase),
        pick=st.integers(0, 15),
        later=st.booleans(),
    )
    def drive_a_spoilt_copy(self, state, phase, pick, later) -> None:
        """In a state that no history leads to, a stimulus is applied as a whole or not at all."""
        spoilt = Session(load_state(dump_state(self.session.state)))
        spoilt.state.input = state
        for reply in (spoilt.state.reply, spoilt.state.utterance and spoilt.state.utterance.draft):
            if reply is not None:
                reply.phase = phase
        end_ms = spoilt.state.scored_ms + WINDOW_MS
        stimuli = [
            AudioAppended(end_ms), SpeechScored(0.9, end_ms, WINDOW_MS), SpeechScored(0.0, end_ms, WINDOW_MS),
            AudioCommitRequested(), AudioClearRequested(), ResponseCreateRequested(), ResponseCancelRequested(),
            SessionClosed(), SettingsChanged(MANUAL),
        ]  # fmt: skip
        stimuli += [result for order in self.orders[-3:] for result in self._results(order, True, later, "Yes.")]
        before = dump_state(spoilt.state)
        try:
            spoilt.receive(stimuli[-1 - pick % len(stimuli)], self.now_ms)
        except IllegalTransition:
            assert dump_state(spoilt.state) == before

    # --- the engines --------------------------------------------------------------------------------------------------

    @rule(pick=st.integers(0, 200), good=st.booleans(), is_last=st.booleans(), text=st.sampled_from(["", "Yes.", "a?"]))
    def answer_order(self, pick, good, is_last, text) -> None:
        if not self.orders:
            return
        index = len(self.orders) - 1 - pick % min(len(self.orders), 8)
        order = self.orders[index]
        if isinstance(order, FinalizeTranscript):
            del self.orders[index]
        for stimulus in self._results(order, good, is_last, text):
            self.feed(stimulus)

    @staticmethod
    def _results(order: Effect, good: bool, is_last: bool, text: str) -> list[Stimulus]:
        match order:
            case FinalizeTranscript(item_id, generation) if good:
                stamped = text and f"{generation}:{text}"
                ended_ms = generation * 100 if is_last else None
                ready = TranscriptReady(item_id, generation, stamped, ends_utterance=is_last)
                return [TranscriptHeard(item_id, text, 0), TranscriptHeard(item_id, text, 0, ended_ms), ready]
            case FinalizeTranscript(item_id, generation):
                return [TranscriptFailed(item_id, generation, "failed")]
            case JudgeTurn(generation=generation):
                return [TurnJudged(generation, 0.9 if good else 0.1)]
            case StartAnswer(generation=generation) if good:
                return [ClauseReady(generation, text and f"{generation}:{text}", is_last)]
            case StartAnswer(generation=generation):
                return [AnswerFailed(generation, "failed")]
            case Synthesize(generation=generation, clause=clause) if good:
                end = [ClauseSpoken(generation, clause)] if is_last else []
                pcm = generation.to_bytes(4, "little") * 120
                return [AudioReady(generation, clause, pcm, ((3, 0),)), *end]
            case Synthesize(generation=generation, clause=clause):
                return [SynthesisFailed(generation, clause, "failed")]
        raise AssertionError(order)

    # --- what must always hold ----------------------------------------------------------------------------------------

    @invariant()
    def responses_end_at_most_once(self) -> None:
        if hasattr(self, "session"):
            assert all(count == 1 for count in self.started.values())
            assert all(count == 1 for count in self.finished.values())
            reply = self.session.state.reply
            assert (reply.response_id if reply else None) == self.in_progress

    @invariant()
    def transcripts_come_once(self) -> None:
        if hasattr(self, "session"):
            assert all(count == 1 for count in self.transcribed.values())

    def teardown(self) -> None:
        if not hasattr(self, "session"):
            return
        awaited = set(self.session.state.awaited)
        for order in list(self.orders):
            if isinstance(order, FinalizeTranscript):
                self.feed(TranscriptReady(order.item_id, order.generation, "end"))
        missing = self.committed - set(self.transcribed) - self.deleted
        assert not missing, f"turns without a transcript: {missing} (awaited: {awaited})"
        self.feed(SessionClosed())
        assert self.started == self.finished, "a response never ended"
        assert not self.open_streams - awaited, "a transcript stream was left open"


SessionMachine.TestCase.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestSession = SessionMachine.TestCase
TestSession.pytestmark = [pytest.mark.unit, pytest.mark.timeout(300)]
