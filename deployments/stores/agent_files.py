"""The agents of a gateway, read from files that may change under calls in progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cluster.config.agents import agent_files, default_agent, read_agent
from pipelines.agents.definition import Agent
from pipelines.agents.directory import UnknownAgentError
from pipelines.errors import ConfigError

logger = logging.getLogger(__name__)

# How often the folder is checked. A change applies to new calls within two seconds.
LOOK_S = 1.0
Stamp = tuple[int, int, int]


class FileAgents:
    """`pipelines.agents.directory.AgentDirectory` over a folder; one file an agent.

    If a file cannot be read, the agent's last good version stays in effect and the failure is logged.

    Args:
        folder: the folder of the files.
        default: name of the agent for calls that name none; "" selects the agent `default`, or the only agent.
    """

    def __init__(self, folder: Path, default: str) -> None:
        self._folder = folder
        self._default = default
        self._agents: dict[str, Agent] = {}
        self._seen: dict[Path, Stamp] = {}

    def find(self, name: str, *, tenant: str | None) -> Agent:
        seen = {key: agent for key, agent in self._agents.items() if tenant in (None, agent.tenant)}
        if not name:
            return default_agent(seen, self._default)
        if name not in seen:
            raise UnknownAgentError(name, sorted(seen))
        return seen[name]

    def names(self, *, tenant: str | None) -> tuple[str, ...]:
        return tuple(sorted(key for key, agent in self._agents.items() if tenant in (None, agent.tenant)))

    def refresh(self) -> None:
        """Read files that are new or have changed since the last check, and forget those that are gone."""
        files = {file: stamp for file in agent_files(self._folder) if (stamp := _stamp(file)) is not None}
        for file, stamp in files.items():
            if self._seen.get(file) != stamp:
                self._read(file)
        gone = self._seen.keys() - files.keys()
        for file in gone:
            self._agents.pop(file.stem, None)
            logger.info("= agent %s was removed", file.stem)
        self._seen = files

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[FileAgents]:
        """Read the folder now, and again whenever it changes, until the end of the block."""
        await asyncio.to_thread(self.refresh)
        task = asyncio.create_task(self._watch(), name="watch agents")
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)  # noqa: TID251 - a folder on a network gives no events
            try:
                await asyncio.to_thread(self.refresh)
            except OSError as error:
                logger.warning("! agents: %s cannot be read: %s", self._folder, error)

    def _read(self, file: Path) -> None:
        try:
            agent = read_agent(file)
        except ConfigError as error:
            kept = "its last good version stays in effect" if file.stem in self._agents else "it answers no calls"
            logger.error("! agent %s: %s; %s", file.stem, error, kept)
            return
        if self._agents.get(file.stem) != agent:
            logger.info("= agent %s is now in version %s", agent.name, agent.version)
        self._agents[file.stem] = agent


def _stamp(file: Path) -> Stamp | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
