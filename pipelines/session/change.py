"""One stimulus being applied: the state it works on, the time it happened, and the effects it has had so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.session.effects import Effect, Refused
from pipelines.session.state import SessionState
from pipelines.session.transitions import Step, next_input_state, next_reply_state


@dataclass(slots=True)
class Change:
    """Collects the effects of one stimulus and moves the states by the transition table."""

    state: SessionState
    now_ms: int
    effects: list[Effect] = field(default_factory=list)

    def emit(self, effect: Effect) -> None:
        self.effects.append(effect)

    def refuse(self, code: str, message: str, *, param: str | None = None, event_id: str | None = None) -> None:
        """Tell the client that nothing was done."""
        self.emit(Refused(code, message, param, event_id))

    def step_input(self, step: Step) -> None:
        self.state.input = next_input_state(self.state.input, step)

    def step_reply(self, step: Step) -> None:
        self.state.reply_state = next_reply_state(self.state.reply_state, step)

    def new_item_id(self) -> str:
        number, self.state.next_item = self.state.next_item, self.state.next_item + 1
        return f"item_{self.state.session_id}_{number}"

    def new_response_id(self) -> str:
        number, self.state.next_response = self.state.next_response, self.state.next_response + 1
        return f"resp_{self.state.session_id}_{number}"

    def new_generation(self) -> int:
        number, self.state.next_generation = self.state.next_generation, self.state.next_generation + 1
        return number
