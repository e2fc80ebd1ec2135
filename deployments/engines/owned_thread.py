"""A thread that exclusively owns an object, such as a model whose library is not thread-safe.

Other threads leave actions in its inbox, and it runs them between two turns of its work:

    others    post ──┐      post ──┐                    stop ──┐
    thread   [set up][run][ turn ][run][ turn ][run] sleeps   [run][ end ]
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

_STOP_WAIT_S = 30.0


class OwnedThread:
    """Runs `turn` again and again, from `start` to `stop`.

    A posted action is either run or refused. None is lost, whenever the thread ends.

    Args:
        name: the thread's name, for logs and debuggers.
        set_up: called first; builds what the thread owns.
        turn: does part of the work or sleeps, and is called until `stop`. When it raises, the thread ends.
        end: called last, after the remaining posted actions.

    Attributes:
        failure: what `set_up` or `turn` raised; None while all is well.
    """

    def __init__(
        self, name: str, *, set_up: Callable[[], None], turn: Callable[[], None], end: Callable[[], None]
    ) -> None:
        self._set_up, self._turn, self._end = set_up, turn, end
        self._inbox: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_ready = threading.Event()
        self._is_stopping = False
        self._has_ended = False
        self._set_up_failure: Exception | None = None
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread, and wait until `set_up` has returned.

        Raises:
            Exception: whatever `set_up` raised.
        """
        self._thread.start()
        self._is_ready.wait()
        # The first turn may also have failed by now. That is reported to whoever asks for the thread's health.
        if self._set_up_failure is not None:
            raise self._set_up_failure

    @property
    def is_stopping(self) -> bool:
        """Whether the thread ends after the current turn."""
        return self._is_stopping

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running and nothing has failed."""
        return self._thread.is_alive() and self.failure is None

    def post(self, action: Callable[[], None]) -> bool:
        """Have the thread call `action` between two turns. Thread-safe.

        Returns:
            False if the thread has ended and will not call the action.
        """
        with self._lock:
            if self._has_ended:
                return False
            self._inbox.append(action)
        self._wake.set()
        return True

    def sleep(self, timeout_s: float | None = None) -> None:
        """Wait until something is posted, the thread is stopped, or `timeout_s` have passed. Called by `turn`."""
        self._wake.wait(timeout_s)
        self._wake.clear()

    def stop(self) -> None:
        """End the thread after the current turn and wait for it. Does nothing on successive calls."""
        self._is_stopping = True
        self._wake.set()
        self._thread.join(_STOP_WAIT_S)

    def _run(self) -> None:
        try:
            self._set_up()
        except Exception as error:
            self.failure = self._set_up_failure = error
            self._has_ended = True
            return
        finally:
            self._is_ready.set()
        try:
            while not self._is_stopping:
                self._run_posted()
                self._turn()
        except Exception as error:  # the owned object is in an unknown state, so the thread ends
            logger.exception("thread %s has ended", self._thread.name)
            self.failure = error
        self._is_stopping = True
        with self._lock:
            self._has_ended = True
        self._run_posted()
        self._end()

    def _run_posted(self) -> None:
        while self._inbox:
            self._inbox.popleft()()
