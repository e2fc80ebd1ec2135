"""Where agents are found by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipelines.agents.definition import Agent
from pipelines.errors import VoxrayError


class UnknownAgentError(VoxrayError):
    """There is no agent of this name, or none for this tenant.

    Attributes:
        name: the name that was asked for.
        known: the names that there are.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        listed = ", ".join(known) or "none"
        asked = f"There is no agent '{name}'" if name else "The call names no agent, and none is the default"
        super().__init__(f"{asked}; agents: {listed}.")
        self.name = name
        self.known = tuple(known)


class AgentDirectory(Protocol):
    """Finds the agents of a cluster. What it returns is what is in force now; calls keep what they were given."""

    def find(self, name: str, *, tenant: str | None) -> Agent:
        """Return an agent.

        Args:
            name: "" for the default agent.
            tenant: only agents of this tenant are seen; None sees all.

        Raises:
            UnknownAgentError: there is none.
        """

    def names(self, *, tenant: str | None) -> tuple[str, ...]:
        """Return the names of the agents, sorted."""
