"""Agents as files: one YAML file for each agent, which is named after the file.

# agents/fernhollow.yaml
company: Fernhollow Outfitters
tenant: default
refusal: I'm sorry, I don't have that information.
pools: {language_model: [large, default]}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_core import to_json

from cluster.config.layers import read_layer
from cluster.config.paths import resolve_paths
from cluster.config.pools import STAGES, Route
from cluster.config.schema import VoxrayConfig
from cluster.config.section import Fraction, Section
from pipelines.agents.definition import DEFAULT_TENANT, Agent, KnowledgeUse
from pipelines.agents.directory import UnknownAgentError
from pipelines.errors import Component, ConfigError

_NAME = re.compile(r"[a-z0-9]([-_a-z0-9]{0,62}[a-z0-9])?")
_ENDINGS = (".yaml", ".yml")
DEFAULT_AGENT = "default"


class KnowledgeSection(Section):
    """Which data the agent answers from, and the thresholds below which it refuses."""

    alias: str = Field(default="", description="Live collection. If empty, services.milvus.alias is used.")
    min_similarity: float = Field(
        default=0.35, ge=-1.0, le=1.0, description="Minimum cosine similarity of a passage that may be used."
    )
    min_matched_terms: Fraction = Field(
        default=0.0, description="Minimum share of the question's words in a passage that may be used."
    )
    min_evidence: float = Field(
        default=0.625,
        ge=-1.0,
        le=2.0,
        description="Minimum of similarity plus 0.3 times the matched share of words (ADR 0004).",
    )


class PoolsSection(Section):
    """The pools of each stage in the order in which they are tried. If empty, the cluster's route is used."""

    transcriber: Route | None = Field(
        default=None, description="Order of the pools that recognise speech; null for the cluster's."
    )
    retriever: Route | None = Field(
        default=None, description="Order of the pools that search the business data; null for the cluster's."
    )
    language_model: Route | None = Field(
        default=None, description="Order of the pools that write answers; null for the cluster's."
    )
    synthesizer: Route | None = Field(
        default=None, description="Order of the pools that speak; null for the cluster's."
    )

    def as_routes(self) -> dict[Component, tuple[str, ...]]:
        """Return the routes that the file gives."""
        return {stage: route for stage in STAGES if (route := getattr(self, stage.value)) is not None}


class AgentFile(Section):
    """The contents of an agent's file."""

    company: str = Field(min_length=1, max_length=200, description="Name of the company as it is spoken.")
    tenant: str = Field(default=DEFAULT_TENANT, description="Tenant whose data is searched.")
    instructions: str = Field(
        default="",
        max_length=20_000,
        description="What the agent is told about its task. If empty, it is told to answer the company's callers"
        " from its data.",
    )
    language: str = Field(
        default="en", pattern="^en$", description="Language of the callers. Only English is supported."
    )
    voice: str = Field(
        default="", description="Name of the voice. If empty, the voice of the synthesizer's pool is used."
    )
    greeting: str = Field(
        default="",
        max_length=500,
        description="Spoken when a call asks for an opening. If empty, a greeting in the name of the company.",
    )
    refusal: str = Field(
        default="I'm sorry, I don't have that information.",
        min_length=1,
        max_length=500,
        description="Spoken when no passage in the data is close enough to the question.",
    )
    expected_words: str = Field(
        default="",
        max_length=400,
        description="Names as callers pronounce them, in a sentence that the recogniser treats as just said.",
    )
    knowledge: KnowledgeSection = KnowledgeSection()
    pools: PoolsSection = PoolsSection()

    def agent(self, name: str) -> Agent:
        """Return the agent that the file defines."""
        return Agent(
            name=name,
            version=hashlib.sha256(to_json(self.model_dump(mode="json"))).hexdigest()[:12],
            tenant=self.tenant,
            company=self.company,
            instructions=self.instructions or f"You answer callers of {self.company} from its own data.",
            language=self.language,
            voice=self.voice,
            greeting=self.greeting or f"Hello, this is {self.company}. How can I help you?",
            refusal=self.refusal,
            expected_words=self.expected_words,
            knowledge=KnowledgeUse(**self.knowledge.model_dump()),
            pools=self.pools.as_routes(),
        )


def agents_folder(config: VoxrayConfig) -> Path:
    """Return the folder of the agents' files."""
    return resolve_paths(config).agents


def agent_files(folder: Path) -> list[Path]:
    """Return the agents' files in a folder, sorted, or [] if the folder does not exist."""
    return sorted(path for path in folder.glob("*") if path.suffix in _ENDINGS) if folder.is_dir() else []


def read_agent(file: Path) -> Agent:
    """Read one agent's file.

    Raises:
        ConfigError: the file cannot be read or has invalid contents. The message names file, key and what is allowed.
    """
    if not _NAME.fullmatch(file.stem):
        raise ConfigError(f"{file}: an agent's name is lower-case letters, digits, - and _, not {file.stem!r}")
    values = read_layer(file).values
    try:
        return AgentFile.model_validate_json(to_json(values), strict=True).agent(file.stem)
    except ValidationError as error:
        found = [f"{'.'.join(str(part) for part in detail['loc'])}: {_said(detail)}" for detail in error.errors()]
        raise ConfigError("\n".join(f"{file}: {line}" for line in found)) from None


def _said(detail: Mapping[str, object]) -> str:
    if detail["type"] == "extra_forbidden":
        return "there is no such key in an agent's file (docs/agents.md lists them)"
    message = str(detail["msg"])
    return f"{message[:1].lower()}{message[1:]}"


def read_agents(folder: Path) -> dict[str, Agent]:
    """Return the agents of a folder by their names.

    Raises:
        ConfigError: there is no agent, or one of the files is invalid.
    """
    agents = {file.stem: read_agent(file) for file in agent_files(folder)}
    if not agents:
        raise ConfigError(f"{folder} holds no agent (NAME.yaml, see docs/agents.md); paths.agents names another folder")
    return agents


def default_agent(agents: Mapping[str, Agent], wanted: str) -> Agent:
    """Return the agent for calls that name none.

    Args:
        agents: all agents by name.
        wanted: `gateway.default_agent`; "" selects the agent called `default`, or the only one.

    Raises:
        UnknownAgentError: there is no such agent, or there are several and none is the default.
    """
    name = wanted or (next(iter(agents)) if len(agents) == 1 else DEFAULT_AGENT)
    if name not in agents:
        raise UnknownAgentError(wanted, sorted(agents))
    return agents[name]


def agent_of(config: VoxrayConfig) -> Agent:
    """Return the default agent of a configuration, for whose tenant commands act when they are given none.

    Raises:
        ConfigError: no agent can be read, or there is no default.
    """
    try:
        return default_agent(read_agents(agents_folder(config)), config.gateway.default_agent)
    except UnknownAgentError as error:
        raise ConfigError(f"gateway.default_agent: {error}") from None
