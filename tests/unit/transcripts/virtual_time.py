"""An event loop whose clock jumps: when nothing is ready, its time becomes that of the next timer.

A call of a minute is played in milliseconds, and every run has the same times: no thread, no socket and no wall clock
takes part. Code under test must use the loop's clock only.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

# Real timers fire a little late, never early; code that rounds times down relies on it.
_LATE_S = 0.0001


class _NothingIsDue(RuntimeError):
    """All tasks wait for something that will never happen."""


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: it moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise _NothingIsDue("nothing is ready and no timer is set: the loop would wait for ever")
        self.now_s = round(self.now_s + max(timeout, 0.0) + _LATE_S, 7)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module's docstring. Begins at 0 s."""

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s


def run_virtual(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` in virtual time; return what it returns."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


async def pass_time(duration_ms: float) -> None:
    """Let virtual time go by."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop), "outside virtual time this would be a wait for a time"
    done = loop.create_future()
    loop.call_later(duration_ms / 1000, done.set_result, None)
    await done
