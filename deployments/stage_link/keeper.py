"""Keeps a gateway linked to every recogniser: finds them, connects, reconnects, and drops those that are gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from deployments.stage_link.dialer import hold_link
from deployments.stage_link.frames import LinkAddress, LinkError
from pipelines.hearing.linked import LinkedTranscriber

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """The recognisers that were found. `is_whole` tells that there are no others."""

    addresses: Sequence[LinkAddress]
    is_whole: bool = True


FindReplicas = Callable[[], Awaitable[Found]]
# How often recognisers are looked for: seldom while all is well, often while there is none.
FIND_S = 2.0
FIND_EAGERLY_S = 0.25
_FIRST_REDIAL_S = 0.1
_LONGEST_REDIAL_S = 2.0


class RedialPause:
    """The pause before reconnecting to a recogniser, which grows each time and is short again once it has joined."""

    def __init__(self) -> None:
        self._next_s = _FIRST_REDIAL_S

    def next_s(self) -> float:
        """Return the length of the next pause, in seconds."""
        now_s = self._next_s
        self._next_s = min(2 * now_s, _LONGEST_REDIAL_S)
        return now_s

    def reset(self) -> None:
        """Start over with a short pause, because the recogniser has joined."""
        self._next_s = _FIRST_REDIAL_S


class LinkKeeper:
    """Links `transcriber` to the recognisers that `find` returns. Used on one event loop.

    A recogniser that `find` no longer returns gets no new streams; its link stays until the other end closes it.
    """

    def __init__(self, transcriber: LinkedTranscriber, find: FindReplicas) -> None:
        self._transcriber = transcriber
        self._find = find
        self._wanted: dict[str, LinkAddress] = {}
        self._links: dict[str, asyncio.Task[None]] = {}
        self._finding: asyncio.Task[None] | None = None
        self._look_now = asyncio.Event()

    def start(self) -> None:
        """Start keeping links. Must be called on the event loop's thread."""
        self._finding = asyncio.create_task(self._keep_finding(), name="find recognisers")

    async def aclose(self) -> None:
        """Break all links. Does nothing on successive calls."""
        self._transcriber.close()
        tasks = [*self._links.values(), *([self._finding] if self._finding else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._links.clear()

    async def _keep_finding(self) -> None:
        while True:
            try:
                self._take(await self._find())
            except Exception as error:
                # Recognisers found before are kept, since a failed look-up says nothing about them.
                logger.warning("! recognisers cannot be looked up: %s", type(error).__name__)
            self._look_now.clear()
            is_well = bool(self._transcriber.gauges()["replicas"])
            try:
                async with asyncio.timeout(FIND_S if is_well else FIND_EAGERLY_S):
                    await self._look_now.wait()
            except TimeoutError:
                continue

    def _take(self, found: Found) -> None:
        named = {address.name: address for address in found.addresses}
        self._wanted = named if found.is_whole else self._wanted | named
        for name in self._links.keys() - self._wanted.keys():
            self._transcriber.retire(name)
        for name, address in self._wanted.items():
            if name in self._links:
                self._transcriber.readmit(name)
            else:
                self._links[name] = asyncio.create_task(self._hold(address), name="stage link")

    async def _hold(self, address: LinkAddress) -> None:
        """Hold the link to one recogniser for as long as it is wanted."""
        pause = RedialPause()
        try:
            while address.name in self._wanted:
                try:
                    await hold_link(address, self._transcriber, on_joined=pause.reset)
                except (LinkError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                    logger.warning("x link to %s: %s", address.name, str(error) or type(error).__name__)
                self._look_now.set()
                await asyncio.sleep(pause.next_s())  # noqa: TID251  the pause before it is dialled again
        finally:
            self._links.pop(address.name, None)
