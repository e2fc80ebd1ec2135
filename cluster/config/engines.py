"""What the configuration knows of an engine: its settings as a type, and what stands around it.

Engines live above this package (`deployments.engines`), one folder a family, each with one or more `EngineSpec`. Their
registry is the one name of that package which is written here, as text: the configuration is parsed with the types of
the engines that it names, so that each default stands with its engine, once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny
from pydantic_core import PydanticCustomError, to_json

from cluster.config.section import Section
from cluster.processor import Processor
from pipelines.errors import Component

REGISTRY = "deployments.engines.registry"
# The engine of whatever names none; for each component, once.
DEFAULT_ENGINES: Mapping[Component, str] = {
    Component.SPEECH_DETECTOR: "silero",
    Component.TURN_DETECTOR: "smart-turn",
    Component.TRANSCRIBER: "whisper-ct2",
    Component.RETRIEVER: "milvus",
    Component.LANGUAGE_MODEL: "vllm",
    Component.SYNTHESIZER: "piper",
}
MemoryControl = Literal["vllm", "torch", "ctranslate2", "onnxruntime", "none"]


class EngineSettings(Section):
    """What every engine is told; each engine's own type adds its keys, and narrows `engine` to its name."""

    engine: str = Field(description="Name of the engine.")
    threads: int = Field(default=1, ge=1, description="Number of CPU threads that the engine computes with.")
    niceness: int = Field(
        default=0, ge=0, le=19, description="How readily the replica gives up the CPU to other processes (`nice`)."
    )


class FittedSettings(EngineSettings):
    """What an engine is told that callers wait for while it computes: its threads may be left to the processor."""

    threads: int = Field(
        default=0, ge=0, description="Number of CPU threads that the engine computes with; 0: what suits the processor."
    )

    def threads_on(self, processor: Processor) -> int:
        """Return with how many threads it computes."""
        return self.threads or processor.threads


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model that an engine loads: which key of its settings names it, the name, and the kind it must have."""

    key: str
    name: str
    kind: str


def _ignored(_timing: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class EngineSite:
    """Where an engine is opened.

    Attributes:
        models: directory of each model, by catalog name.
        num_gpus: share of a GPU, or whole GPUs, that the process has.
        neuron_cores: NeuronCores that the process has.
        milvus_uri: where the vector store answers.
        milvus_token: its token; "" for none.
        milvus_alias: name of the live collection.
        objects_url: the object store, a folder or an s3:// URL.
        on_timing: called with the timing of each piece of work, where the engine measures it.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    num_gpus: float = 0.0
    neuron_cores: int = 0
    milvus_uri: str = ""
    milvus_token: str = ""
    milvus_alias: str = ""
    objects_url: str = ""
    on_timing: Callable[[Any], None] = _ignored


def _no_models(_settings: Any) -> tuple[ModelUse, ...]:
    return ()


def _nothing_to_fit(_settings: Any, _processor: Processor) -> Mapping[str, str]:
    return {}


def _no_problems(_pool: Any, _profile: str) -> Iterator[tuple[str, str]]:
    return iter(())


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """One engine of one component, as its folder declares it.

    Attributes:
        component: what it does in a call.
        name: by which the configuration chooses it.
        settings: type of its part of the configuration.
        open: makes the engine, not warmed up; imports its libraries only then.
        models: the models that it loads.
        extra: extra of the project that brings its libraries; "" where the base has them.
        runs_on_gpu: whether it computes on a GPU when its replica has one.
        needs_neuron: whether it needs NeuronCores.
        is_streaming: of a recogniser: gateways are linked to it, instead of sending whole utterances.
        memory_control: by which library its GPU memory is limited.
        variables: what its replicas need in their environment.
        problems: settings of a pool that cannot work together, as (key, message).
        fit: what it computes with on a processor, by the keys of its settings, those that were left open included.
    """

    component: Component
    name: str
    settings: type[EngineSettings]
    open: Callable[[Any, EngineSite], Any]
    models: Callable[[Any], tuple[ModelUse, ...]] = _no_models
    extra: str = ""
    runs_on_gpu: bool = False
    needs_neuron: bool = False
    is_streaming: bool = False
    memory_control: MemoryControl = "none"
    variables: Mapping[str, str] = field(default_factory=dict)
    problems: Callable[[Any, str], Iterator[tuple[str, str]]] = _no_problems
    fit: Callable[[Any, Processor], Mapping[str, str]] = _nothing_to_fit

    @property
    def has_models(self) -> bool:
        """Whether it loads weights; a scripted engine does not."""
        return self.models is not _no_models


def spec_of(component: Component, name: str) -> EngineSpec:
    """Return the engine of a component by its name; LookupError when there is none."""
    found: EngineSpec = importlib.import_module(REGISTRY).spec_of(component, name)
    return found


def engine_names(component: Component) -> tuple[str, ...]:
    """Return the names of the engines that there are for a component."""
    names: tuple[str, ...] = importlib.import_module(REGISTRY).engine_names(component)
    return names


def known_keys(component: Component) -> set[str]:
    """Return the keys that any engine of a component may be told."""
    return {key for name in engine_names(component) for key in spec_of(component, name).settings.model_fields}


def checked_spec(component: Component, name: Any) -> EngineSpec:
    """Return the engine of a component, or refuse the name as pydantic refuses a value."""
    try:
        return spec_of(component, name)
    except LookupError:
        known = ", ".join(engine_names(component))
        raise PydanticCustomError("unknown_engine", "allowed: one of {known}", {"known": known}) from None


def parsed_strictly(kind: type[Section], values: Mapping[str, Any]) -> Any:
    """Parse plain data as the tree itself is parsed: by way of JSON, in which no text is a number."""
    return kind.model_validate_json(to_json(values), strict=True)


def default_settings(component: Component) -> EngineSettings:
    """Return the settings of the engine that a component has where nothing is said."""
    found: EngineSettings = _settings(component, {})
    return found


def _settings(component: Component, value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    spec = checked_spec(component, value.get("engine", DEFAULT_ENGINES[component]))
    return parsed_strictly(spec.settings, {"engine": spec.name, **value})


SpeechDetectorSettings = Annotated[
    SerializeAsAny[EngineSettings], BeforeValidator(partial(_settings, Component.SPEECH_DETECTOR))
]
TurnDetectorSettings = Annotated[
    SerializeAsAny[EngineSettings], BeforeValidator(partial(_settings, Component.TURN_DETECTOR))
]
