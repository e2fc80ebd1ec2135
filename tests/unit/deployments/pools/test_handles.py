"""Ray's failures in the product's words, replicas asked by handles, and the shell around a recogniser."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.shells.transcriber import Transcriber
from deployments.stage_link.frames import LinkAddress
from pipelines.errors import Component, EngineError
from pipelines.hearing.windowed import Recognition
from pipelines.ports import RetrievalQuery, SpeechRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's own modules, when they are imported
    from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

    from deployments.pools.handles import LinkDirectory, RemoteRetriever, RemoteSynthesizer, engine_errors

pytestmark = pytest.mark.unit


def task_error(cause: Exception) -> RayTaskError:
    return RayTaskError("search", "traceback", cause)


@pytest.mark.parametrize(
    ("error", "reason", "retryable"),
    [
        (RayActorError(), "no replica took the request", True),
        (GetTimeoutError("late"), "cannot be reached", True),
        (task_error(ValueError("a caller's words")), "failed with ValueError", False),
        (task_error(EngineError(Component.VECTOR_STORE, "gone", retryable=True)), "gone", True),
    ],
)
def test_failure_of_a_replica_says_whether_another_try_is_worth_it(
    error: Exception, reason: str, retryable: bool
) -> None:
    with pytest.raises(EngineError) as caught, engine_errors(Component.RETRIEVER):
        raise error
    assert caught.value.reason.startswith(reason)
    assert caught.value.retryable is retryable
    assert "words" not in str(caught.value)


def test_failure_of_our_own_passes() -> None:
    with pytest.raises(KeyError), engine_errors(Component.RETRIEVER):
        raise KeyError("ours")


class Remote:
    """Stands in the place of a handle's method; fails first as it is told."""

    def __init__(self, *failures: Exception) -> None:
        self.failures, self.asked = list(failures), 0

    async def remote(self, _query: object) -> list[str]:
        self.asked += 1
        if self.failures:
            raise self.failures.pop(0)
        return ["passage"]


def searched(remote: Remote) -> Any:
    handle: Any = SimpleNamespace(search=remote)
    return asyncio.run(RemoteRetriever(handle).search(RetrievalQuery("acme", "why", 3, 100)))


def test_search_is_tried_again_once_where_that_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployments.pools.handles.RETRY_DELAY_S", 0.0)
    once = Remote(RayActorError())
    assert searched(once) == ["passage"]
    assert once.asked == 2
    twice = Remote(RayActorError(), RayActorError())
    with pytest.raises(EngineError):
        searched(twice)
    assert twice.asked == 2
    never = Remote(task_error(ValueError("x")))
    with pytest.raises(EngineError):
        searched(never)
    assert never.asked == 1


class Stream:
    """What a replica streams."""

    def __init__(self) -> None:
        self.left, self.is_cancelled = [1, 2], False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)

    def cancel(self) -> None:
        self.is_cancelled = True


@pytest.mark.parametrize(("wanted", "is_cancelled"), [(1, True), (9, False)])
def test_replica_is_told_when_its_listener_stops_early(wanted: int, is_cancelled: bool) -> None:
    stream = Stream()
    method = SimpleNamespace(remote=lambda _request: stream)
    handle: Any = SimpleNamespace(options=lambda **_: SimpleNamespace(synthesize=method))

    async def listen() -> list[Any]:
        heard: list[Any] = []
        pieces = RemoteSynthesizer(handle).synthesize(SpeechRequest("hello"))
        async for piece in pieces:
            heard.append(piece)
            if len(heard) == wanted:
                break
        await pieces.aclose()  # type: ignore[attr-defined]
        return heard

    assert asyncio.run(listen()) == [1, 2][:wanted]
    assert stream.is_cancelled is is_cancelled


def test_directory_tells_whether_all_replicas_answered() -> None:
    address = LinkAddress.__new__(LinkAddress)

    class Asked:
        def __init__(self, *told: object) -> None:
            self.told = told

        async def results_async(self, **_options: object) -> list[object]:
            return list(self.told)

    def found(*told: object) -> Any:
        handle: Any = SimpleNamespace(broadcast=lambda _name: Asked(*told))
        return asyncio.run(LinkDirectory(handle).find())

    assert found(address).is_whole
    partly = found(address, RayActorError())
    assert (len(partly.addresses), partly.is_whole) == (1, False)


class Recognizer:
    def __init__(self) -> None:
        self.warmed = 0

    def warm_up(self) -> None:
        self.warmed += 1

    async def recognize(self, pcm_16k: bytes, expected_words: str = "") -> Recognition:
        if not pcm_16k:
            raise EngineError(Component.TRANSCRIBER, "no audio", retryable=False)
        return Recognition(f"{len(pcm_16k)} {expected_words}")


def test_recogniser_is_warm_before_it_serves_and_its_load_ends_with_a_failure() -> None:
    engine = Recognizer()
    shell = Transcriber(lambda: engine)
    assert engine.warmed == 1
    assert asyncio.run(shell.recognize(b"ab", "Fernhollow")).text == "2 Fernhollow"
    with pytest.raises(EngineError):
        asyncio.run(shell.recognize(b""))
    assert shell.record_autoscaling_stats()["in_flight"] == 0
