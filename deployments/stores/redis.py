"""Connections to Redis, and the only mapping of its failures to the product's errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
import redis.exceptions

from pipelines.errors import Component, EngineError

_TIMEOUT_S = 30.0


def connect(url: str, password: str = "") -> redis.Redis:
    """Return a blocking client that decodes responses, for jobs. It connects on first use."""
    return redis.Redis.from_url(url, password=password or None, decode_responses=True, socket_timeout=_TIMEOUT_S)


def connect_async(url: str, password: str = "") -> redis.asyncio.Redis:
    """Return a client that decodes responses, for the event loop. It connects on first use."""
    return redis.asyncio.Redis.from_url(url, password=password or None, decode_responses=True)


@contextmanager
def redis_errors(reason: str = "cannot be reached") -> Iterator[None]:
    """Map failures of Redis to `EngineError`. All but a refused password are retryable, because servers come back.

    Args:
        reason: the message's text for a retryable failure.
    """
    try:
        yield
    except (redis.exceptions.AuthenticationError, redis.exceptions.NoPermissionError) as error:
        refused = "refuses the password; set the variable that services.redis.password_env names"
        raise EngineError(Component.REDIS, refused, retryable=False) from error
    except redis.exceptions.RedisError as error:
        raise EngineError(Component.REDIS, reason, retryable=True) from error
