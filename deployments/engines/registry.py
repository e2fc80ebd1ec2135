"""The registry of engines: maps component and name to the `EngineSpec` that an engine's folder declares.

To add an engine, create a folder with a `SPEC` and add a line here. Specs are imported on demand, and import their
engine's libraries only when it is opened.
"""

from __future__ import annotations

import importlib

from cluster.config.engines import EngineSpec
from pipelines.errors import Component

ENGINES: dict[Component, dict[str, str]] = {
    Component.SPEECH_DETECTOR: {
        "silero": "deployments.engines.vad:SPEC",
        "scripted": "deployments.engines.scripted:SPEECH_DETECTOR",
    },
    Component.TURN_DETECTOR: {
        "smart-turn": "deployments.engines.turn_end:SPEC",
        "scripted": "deployments.engines.scripted:TURN_DETECTOR",
    },
    Component.TRANSCRIBER: {
        "whisper-ct2": "deployments.engines.whisper:SPEC",
        "nemo": "deployments.engines.nemo:SPEC",
        "scripted": "deployments.engines.scripted:TRANSCRIBER",
        "scripted-streaming": "deployments.engines.scripted:STREAMING_TRANSCRIBER",
    },
    Component.RETRIEVER: {
        "milvus": "deployments.engines.milvus:SPEC",
        "scripted": "deployments.engines.scripted:RETRIEVER",
    },
    Component.LANGUAGE_MODEL: {
        "vllm": "deployments.engines.vllm:SPEC",
        "neuron": "deployments.engines.neuron:SPEC",
        "scripted": "deployments.engines.scripted:LANGUAGE_MODEL",
    },
    Component.SYNTHESIZER: {
        "piper": "deployments.engines.piper:SPEC",
        "scripted": "deployments.engines.scripted:SYNTHESIZER",
    },
}


def engine_names(component: Component) -> tuple[str, ...]:
    """Return the names of a component's engines."""
    return tuple(ENGINES.get(component, {}))


def spec_of(component: Component, name: str) -> EngineSpec:
    """Return an engine by its name.

    Raises:
        LookupError: the component has no engine of this name.
    """
    module, _, attribute = ENGINES[component][name].partition(":")
    found: EngineSpec = getattr(importlib.import_module(module), attribute)
    return found
