"""An agent: who answers a call, for whom, and how. Immutable; a call keeps the version that it began with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipelines.errors import Component


@dataclass(frozen=True, slots=True)
class KnowledgeUse:
    """Which data an agent answers from, and how near a passage must be.

    Attributes:
        alias: live collection that is searched; "" for the one of the retriever's pool.
        min_similarity: passages below this cosine similarity (-1.0 to 1.0) are not near.
        min_matched_terms: passages with a smaller share (0.0 to 1.0) of the question's words are not near.
        min_evidence: least sum of similarity and weighted word coverage of a passage that may answer (ADR 0004).
    """

    alias: str
    min_similarity: float
    min_matched_terms: float
    min_evidence: float


# Whose data it is where nothing else is said.
DEFAULT_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Agent:
    """One version of an agent.

    Attributes:
        name: by which calls choose it.
        version: digest of the definition; another text is another version.
        tenant: whose data is searched.
        company: name of the company, spoken and told to the model.
        instructions: what the agent is told of its task.
        language: of its callers, as an ISO 639-1 code.
        voice: a voice by its name; "" for the one of the synthesizer's pool.
        greeting: said when a call asks for an opening.
        refusal: said when nothing is near enough.
        expected_words: names as callers say them, which a recogniser takes as said before; "" for none.
        knowledge: the data, and how near is near.
        pools: the pools of a stage in the order in which they are tried; a stage that is missing has the cluster's.
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
