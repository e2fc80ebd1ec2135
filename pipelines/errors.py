"""Every error of the product, grouped by whose fault it is and whether a retry can help.

VoxrayError
├── ConfigError            the operator's: a file or variable is wrong; the message names it
├── PeerError              the client's: answered with an `error` event, the socket stays up
├── IllegalTransition      ours: a bug in the session core; nothing was changed, and the call ends
├── CapacityError          nobody's: full; retry later (carries a reason)
└── EngineError            an engine or store failed; `retryable` says whether another try can help
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from enum import StrEnum


class Component(StrEnum):
    """A part of the product that can fail on its own. Each value is the part's configuration key, where it has one."""

    GATEWAY = "gateway"
    SPEECH_DETECTOR = "speech_detector"
    TURN_DETECTOR = "turn_detector"
    TRANSCRIBER = "transcriber"
    RETRIEVER = "retriever"
    LANGUAGE_MODEL = "language_model"
    SYNTHESIZER = "synthesizer"
    ANSWER = "answer"
    VECTOR_STORE = "vector_store"
    REDIS = "redis"
    OBJECT_STORE = "object_store"
    INGEST = "ingest"
    ERASURE = "erasure"
    EVALUATION = "evaluation"

    @property
    def label(self) -> str:
        """The name as written in messages for people ("language model")."""
        return self.value.replace("_", " ")


class VoxrayError(Exception):
    """Base of all errors raised by this product."""


class ConfigError(VoxrayError):
    """A configuration file or environment variable is wrong."""


class PeerError(VoxrayError):
    """The client asked for something that cannot be done.

    Attributes:
        code: machine-readable code, sent as `error.code`.
        param: the offending field, or None.
        event_id: the client's id of the offending event, or None.
    """

    def __init__(self, code: str, message: str, *, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.event_id = event_id


class IllegalTransition(VoxrayError):
    """The transition table does not allow this step. The session's state is unchanged."""


class CapacityError(VoxrayError):
    """A limit was reached, and the request was refused before it could harm others."""


class EngineError(VoxrayError):
    """An engine, model or store behind a port failed.

    Attributes:
        engine: the engine that failed.
        reason: what happened, without the engine's name.
        retryable: True when the same request may succeed on another try or replica.
    """

    def __init__(self, engine: Component | str, reason: str, *, retryable: bool) -> None:
        self.engine = Component(engine)
        self.reason = reason
        self.retryable = retryable
        super().__init__(f"{self.engine}: {reason}")

    def __reduce__(self) -> tuple[Callable[..., EngineError], tuple[str, str, bool]]:
        """Make the error picklable between processes, which its keyword-only argument would otherwise prevent."""
        return _engine_error, (self.engine, self.reason, self.retryable)


def _engine_error(engine: str, reason: str, retryable: bool) -> EngineError:
    return EngineError(engine, reason, retryable=retryable)


def traceback_without_values(error: BaseException) -> str:
    """Return where `error` and its causes were raised, for the logs of calls.

    Messages are omitted because they may quote what was said. Those of `IllegalTransition` name only states, so they
    stay.
    """
    return "\nwhile handling:\n".join(
        "".join(traceback.format_tb(link.__traceback__)) + _told(link) for link in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _told(error: BaseException) -> str:
    name = type(error).__qualname__
    return f"{name}: {error}" if isinstance(error, IllegalTransition) else name
