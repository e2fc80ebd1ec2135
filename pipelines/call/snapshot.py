"""A session's state as plain data and back, so that a call can move to another process."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import VoxrayError
from pipelines.session.state import SessionState


class SnapshotError(VoxrayError):
    """A snapshot is damaged or was written by an incompatible version."""


class _Snapshot(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", extra="forbid")

    version: Literal[2] = 2
    state: SessionState


def dump_state(state: SessionState) -> bytes:
    """Serialise a session's state as JSON. It holds what was said: keep it only where the tenant's data may be."""
    return _Snapshot.model_construct(state=state).model_dump_json().encode()


def load_state(data: bytes) -> SessionState:
    """Restore a state written by `dump_state`.

    Raises:
        SnapshotError: the data is damaged or of another version.
    """
    try:
        return _Snapshot.model_validate_json(data).state
    except ValidationError as error:
        # Only the places: pydantic's own text quotes the values, and the values are speech.
        places = [".".join(map(str, e["loc"])) for e in error.errors(include_input=False)]
        raise SnapshotError(f"session snapshot is damaged at {places[:3]}") from None
