"""Saves a call as one value (core, wire and recent audio) and loads it, so that it can continue in another process.

    bytes of a snapshot ── load_call ──► CallSnapshot(core, wire, runner)
    wire                ── WireTranslator.resumed ──► the client sees the same session
    core                ── Session.restore ──► the session, and the orders to give again
    runner              ── SessionRunner(..., left=...).resume(orders) ──► it hears on from the same sample

A snapshot contains what was said, so keep it only where the tenant's data may be stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.call.state import RunnerState
from pipelines.errors import VoxrayError
from pipelines.session.state import SessionState
from pipelines.wire.translate.state import WireState


class SnapshotError(VoxrayError):
    """A snapshot is damaged or was written by an incompatible version."""


@dataclass(frozen=True, slots=True)
class CallSnapshot:
    """The state of a call at one moment."""

    core: SessionState
    wire: WireState
    runner: RunnerState


class _StoredState(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="forbid")

    version: Literal[3] = 3
    core: SessionState


class _StoredCall(_StoredState):
    wire: WireState
    runner: RunnerState


_Stored = TypeVar("_Stored", bound=_StoredState)


def dump_call(snapshot: CallSnapshot) -> bytes:
    """Serialise a call as JSON."""
    stored = _StoredCall.model_construct(core=snapshot.core, wire=snapshot.wire, runner=snapshot.runner)
    return stored.model_dump_json().encode()


def load_call(data: bytes) -> CallSnapshot:
    """Return the call that `dump_call` has serialised.

    Raises:
        SnapshotError: the data is damaged or of another version.
    """
    stored = _validated(_StoredCall, data)
    return CallSnapshot(stored.core, stored.wire, stored.runner)


def dump_state(state: SessionState) -> bytes:
    """Serialise only the core's state."""
    return _StoredState.model_construct(core=state).model_dump_json().encode()


def load_state(data: bytes) -> SessionState:
    """Return the state that `dump_state` has serialised.

    Raises:
        SnapshotError: the data is damaged or of another version.
    """
    return _validated(_StoredState, data).core


def _validated(model: type[_Stored], data: bytes) -> _Stored:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        # Report only the locations, because pydantic's own message quotes the values, and the values are speech.
        places = [".".join(map(str, e["loc"])) for e in error.errors(include_input=False)]
        raise SnapshotError(f"call snapshot is damaged at {places[:3]}") from None
