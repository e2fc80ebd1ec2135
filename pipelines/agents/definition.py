"""An agent: who answers a call, for whom, and how. Agents are immutable, and a call keeps the version it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import Component


@dataclass(frozen=True, slots=True)
class KnowledgeUse:
    """Which data an agent answers from, and how close a passage must be to the question.

    Attributes:
        alias: alias of the live collection to search; "" uses the one configured for the retriever's pool.
        min_similarity: passages below this cosine similarity (-1.0 to 1.0) are rejected.
        min_matched_terms: passages that contain a smaller share (0.0 to 1.0) of the question's words are rejected.
        min_evidence: minimum of similarity plus weighted word coverage for a passage to be used in an answer (ADR
            0004).
    """

    alias: str
    min_similarity: float
    min_matched_terms: float
    min_evidence: float


# The tenant that owns the data when none is named.
DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Agent:
    """One version of an agent.

    Attributes:
        name: the name by which calls select this agent.
        version: digest of the definition, so any change to the text makes a new version.
        tenant: the tenant whose data is searched.
        company: company name, used in spoken texts and in the model's prompt.
        instructions: what the model is told about the agent's task.
        language: the callers' language, as an ISO 639-1 code.
        voice: name of the voice; "" uses the one configured for the synthesizer's pool.
        greeting: spoken when the client asks for an opening line.
        refusal: spoken when no passage is close enough to the question.
        expected_words: names as callers pronounce them, given to the recogniser as if they had just been said; "" for
            none.
        knowledge: which data is searched, and the thresholds for using a passage.
        pools: for each stage, its pools in the order in which they are tried. A missing stage uses the cluster's order.
    """

    name: str
    version: str
    tenant: str
    company: str
    instructions: str
    language: str
    voice: str
    greeting: str
    refusal: str
    expected_words: str
    knowledge: KnowledgeUse
    pools: Mapping[Component, tuple[str, ...]]
