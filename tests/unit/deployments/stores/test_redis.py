from __future__ import annotations

from pathlib import Path

import pytest
import redis.exceptions

from deployments.stores.redis import connect, connect_async, redis_errors
from pipelines.errors import CapacityError, EngineError

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("error", "retryable", "says"),
    [
        (redis.exceptions.ConnectionError("Connection refused"), True, "no answer at redis://x"),
        (redis.exceptions.TimeoutError("Timeout reading"), True, "no answer at redis://x"),
        (redis.exceptions.ResponseError("OOM command not allowed"), True, "no answer at redis://x"),
        (redis.exceptions.AuthenticationError("invalid password"), False, "services.redis.password_env"),
        (redis.exceptions.NoPermissionError("NOPERM"), False, "services.redis.password_env"),
    ],
)
def test_failure_says_whether_a_retry_can_help(error: Exception, retryable: bool, says: str) -> None:
    with pytest.raises(EngineError, match=says) as caught, redis_errors("no answer at redis://x"):
        raise error
    assert caught.value.retryable is retryable
    assert caught.value.__cause__ is error


def test_other_errors_pass() -> None:
    with pytest.raises(CapacityError), redis_errors():
        raise CapacityError("another job works on it")


def test_an_address_that_does_not_answer_is_an_engine_error() -> None:
    with pytest.raises(EngineError), redis_errors():
        connect("redis://127.0.0.1:1").ping()


async def test_also_from_an_event_loop() -> None:
    client = connect_async("redis://127.0.0.1:1", "secret")
    with pytest.raises(EngineError), redis_errors():
        await client.ping()
    await client.aclose()


def test_nobody_else_maps_failures_of_redis() -> None:
    folders = ("deployments", "ingest_jobs", "pipelines")
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if "except redis" in path.read_text("utf-8") or "Redis.from_url" in path.read_text("utf-8")
    }
    assert found == {"deployments/stores/redis.py"}
