"""A stimulus being applied: the state it works on, the time it happened, and its effects so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.session.effects import Effect, Refused
from pipelines.session.state import Reply, SessionState
from pipelines.session.transitions import Step, next_input_state, next_reply_phase


@dataclass(slots=True)
class Change:
    """Collects the effects of one stimulus and moves the states by the transition table.

    A change happens as a whole or not at all: `keep` saves the state before the first modification and `undo` restores
    it.
    """

    state: SessionState
    now_ms: int
    effects: list[Effect] = field(default_factory=list)
    _kept: SessionState | None = None

    def keep(self) -> None:
        """Save the current state. Does nothing on successive calls."""
        if self._kept is None:
            self._kept = self.state.copy()

    def undo(self) -> None:
        """Restore the saved state. Without one there is nothing to restore, because nothing has changed."""
        if self._kept is not None:
            self.state.become(self._kept)

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def refuse(self, code: str, message: str, *, param: str | None = None, event_id: str | None = None) -> None:
        """Tell the client that its request was refused and changed nothing."""
        self.emit(Refused(code, message, param, event_id))

    def step_input(self, step: Step) -> None:
        self.state.input = next_input_state(self.state.input, step)

    @staticmethod
    def step_reply(reply: Reply, step: Step) -> None:
        reply.phase = next_reply_phase(reply.phase, step)

    def new_item_id(self) -> str:
        number, self.state.next_item = self.state.next_item, self.state.next_item + 1
        return f"item_{self.state.session_id}_{number}"

    def new_response_id(self) -> str:
        number, self.state.next_response = self.state.next_response, self.state.next_response + 1
        return f"resp_{self.state.session_id}_{number}"

    def new_generation(self) -> int:
        number, self.state.next_generation = self.state.next_generation, self.state.next_generation + 1
        return number
