"""An agent and limits that tests share, where it does not matter who answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cluster.config.agents import AgentFile
from cluster.config.schema import AnsweringConfig
from pipelines.agents.definition import Agent
from pipelines.answering.events import AnswerLimits

AGENT = AgentFile(company="Fernhollow Outfitters").agent("fernhollow")
LIMITS = AnswerLimits(**AnsweringConfig().model_dump())


def agent(**changes: Any) -> Agent:
    """Return the agent with other values of its file."""
    return AgentFile.model_validate({"company": "Fernhollow Outfitters", **changes}).agent("fernhollow")


def limits(**changes: Any) -> AnswerLimits:
    """Return the limits of the embedded profile with other values."""
    return replace(LIMITS, **changes)
