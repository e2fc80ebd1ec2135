"""The port through which agents are looked up by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipelines.agents.definition import Agent
from pipelines.errors import VoxrayError


class UnknownAgentError(VoxrayError):
    """No agent has this name, or the one that has it belongs to another tenant.

    Attributes:
        name: the name that was requested.
        known: the names that exist.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(known) or "none"
        asked = f"There is no agent '{name}'" if name else "The call names no agent, and none is the default"
        super().__init__(f"{asked}; agents: {listed}.")
        self.name = name
        self.known = tuple(known)


class AgentDirectory(Protocol):
    """Looks up the agents of a cluster.

    It always returns the current version; a running call keeps the one it was given.
    """

    def find(self, name: str, *, tenant: str | None) -> Agent:
        """Return an agent.

        Args:
            name: the agent's name; "" selects the default agent.
            tenant: restricts the search to this tenant's agents; None searches all of them.

        Raises:
            UnknownAgentError: no such agent exists.
        """

    def names(self, *, tenant: str | None) -> tuple[str, ...]:
        """Return the names of the agents, sorted."""
