"""Encodes commands, results and load: one MessagePack array per message, checked field by field when it is read.

["c", [[0, stream, tenant], [1, stream, pcm], [2, stream, finish], [3, stream],            gateway to recogniser
       [4, [stream, …], [pcm, …]]]]
["r", [[0, stream, text, stable, audio_ms, finish, ends, words], [1, stream, reason], …]]  recogniser to gateway
["l", streams, slots, accepts_new]                                                         its load
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from deployments.stage_link.frames import LinkError
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    HeardWord,
    OpenStream,
    PushAudio,
    PushMany,
    StreamCommand,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)


@dataclass(frozen=True, slots=True)
class LinkLoad:
    """How full a recogniser is, counting the streams of all gateways."""

    streams: int
    slots: int
    accepts_new: bool = True


def pack_commands(commands: Sequence[StreamCommand]) -> bytes:
    """Return a gateway's message of commands."""
    return bytes(msgpack.packb(("c", [_command(command) for command in commands])))


def unpack_commands(payload: bytes) -> list[StreamCommand]:
    """Return the commands of a gateway's message.

    Raises:
        LinkError: this is no such message.
    """
    kind, *rest = _array(payload)
    if kind != "c" or len(rest) != 1:
        raise LinkError("not a message of commands")
    return [_read(item, _COMMANDS) for item in _items(rest[0])]


def pack_results(results: Sequence[StreamResult]) -> bytes:
    """Return a recogniser's message of results."""
    return bytes(msgpack.packb(("r", [_result(result) for result in results])))


def pack_load(load: LinkLoad) -> bytes:
    """Return a recogniser's message about its load."""
    return bytes(msgpack.packb(("l", load.streams, load.slots, load.accepts_new)))


def unpack_answer(payload: bytes) -> list[StreamResult] | LinkLoad:
    """Return the results or the load in a recogniser's message.

    Raises:
        LinkError: this is no such message.
    """
    kind, *rest = _array(payload)
    if kind == "r" and len(rest) == 1:
        return [_partial(item) or _read(item, _RESULTS) for item in _items(rest[0])]
    if kind == "l" and len(rest) == 3:
        load: LinkLoad = _checked(LinkLoad, rest, (int, int, bool))
        return load
    raise LinkError("neither results nor load")


def _command(command: StreamCommand) -> tuple[Any, ...]:
    match command:
        case OpenStream(stream, tenant):
            return (0, stream, tenant)
        case PushAudio(stream, pcm_16k):
            return (1, stream, pcm_16k)
        case FinishUtterance(stream, finish):
            return (2, stream, finish)
        case CloseStream(stream):
            return (3, stream)
        case PushMany(streams, pieces):
            return (4, streams, pieces)


def _result(result: StreamResult) -> tuple[Any, ...]:
    match result:
        case StreamHeard():
            words = [(word.text, word.start_ms, word.end_ms, word.confidence) for word in result.words]
            finish = -1 if result.finish is None else result.finish
            text, stable, audio_ms, ends = result.text, result.stable_chars, result.audio_ms, result.ends_utterance
            return (0, result.stream, text, stable, audio_ms, finish, ends, words)
        case StreamRefused(stream, reason):
            return (1, stream, reason)
        case StreamFailed(stream, reason, retryable):
            return (2, stream, reason, retryable)


def _partial(item: Any) -> StreamHeard | None:
    """Decode the most frequent kind of result by a fast path. Returns None if it is another kind, or malformed."""
    if type(item) is not list or tuple(map(type, item)) != _PARTIAL:
        return None
    kind, stream, text, stable, audio_ms, finish, ends, words = item
    is_partial = kind == 0 and finish == -1 and not words
    return StreamHeard(stream, text, stable, audio_ms, None, ends) if is_partial else None


def _pushes(fields: list[Any]) -> PushMany:
    if len(fields) != 2:
        raise LinkError("audio of many streams has two fields")
    streams, pieces = _items(fields[0]), _items(fields[1])
    if len(streams) != len(pieces) or not {*map(type, streams)} <= {int} or not {*map(type, pieces)} <= {bytes}:
        raise LinkError("malformed fields for audio of many streams")
    return PushMany(streams, pieces)


def _heard(fields: list[Any]) -> StreamHeard:
    if len(fields) != 7:
        raise LinkError("a hypothesis has seven fields")
    *plain, words = fields
    heard: StreamHeard = _checked(StreamHeard, plain, (int, str, int, int, int, bool))
    read = tuple(_checked(HeardWord, _items(word), (str, int, int, float)) for word in _items(words))
    finish = None if heard.finish == -1 else heard.finish
    return StreamHeard(
        heard.stream, heard.text, heard.stable_chars, heard.audio_ms, finish, heard.ends_utterance, read
    )  # fmt: skip


_PARTIAL = (int, int, str, int, int, int, bool, list)
_Readers = Sequence[Callable[[list[Any]], Any]]
_COMMANDS: _Readers = (
    lambda fields: _checked(OpenStream, fields, (int, str)),
    lambda fields: _checked(PushAudio, fields, (int, bytes)),
    lambda fields: _checked(FinishUtterance, fields, (int, int)),
    lambda fields: _checked(CloseStream, fields, (int,)),
    _pushes,
)
_RESULTS: _Readers = (
    _heard,
    lambda fields: _checked(StreamRefused, fields, (int, str)),
    lambda fields: _checked(StreamFailed, fields, (int, str, bool)),
)


def _array(payload: bytes) -> list[Any]:
    try:
        message = msgpack.unpackb(payload)
    except (ValueError, msgpack.UnpackException) as error:
        raise LinkError(f"not MessagePack ({type(error).__name__})") from None
    items = _items(message)
    if not items:
        raise LinkError("an empty message")
    return items


def _items(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise LinkError(f"{type(value).__name__} where an array belongs")
    return value


def _read(item: Any, readers: _Readers) -> Any:
    kind, *fields = _items(item) or [None]
    if type(kind) is not int or not 0 <= kind < len(readers):
        raise LinkError("an item of an unknown kind")
    return readers[kind](fields)


def _checked(make: Callable[..., Any], fields: list[Any], types: tuple[type, ...]) -> Any:
    """Return `make(*fields)` if every field has its type. A bool does not count as an int here."""
    if tuple(map(type, fields)) != types:
        raise LinkError(f"malformed fields for {getattr(make, '__name__', 'item')}")
    return make(*fields)
