"""What the configuration knows about an engine: the type of its settings and its requirements.

Engines live above this package (`deployments.engines`), with one folder per family and one or more `EngineSpec` in
each. The registry is the only module of that package named here, as text. The configuration is parsed with the types of
the engines it names, so that each default is defined once, with its engine.
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
# The default engine of each component.
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
    """Settings of every engine. Each engine's own type adds keys and narrows `engine` to its name."""

    engine: str = Field(description="Name of the engine.")
    threads: int = Field(default=1, ge=1, description="Number of CPU threads that the engine computes with.")
    niceness: int = Field(
        default=0, ge=0, le=19, description="How readily the replica yields the CPU to other processes (`nice`)."
    )


class FittedSettings(EngineSettings):
    """Settings of an engine that callers wait for while it computes.

    Its threads may be chosen to suit the processor.
    """

    threads: int = Field(
        default=0,
        ge=0,
        description="Number of CPU threads that the engine computes with; 0 chooses what suits the processor.",
    )

    def threads_on(self, processor: Processor) -> int:
        """Return the number of threads that the engine computes with."""
        return self.threads or processor.threads


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model that an engine loads: the key that names it, its name, and the kind it must have."""

    key: str
    name: str
    kind: str


def _ignored(_timing: Any) -> None:
    return None


@dataclass(frozen=True, slots=True)
class EngineSite:
    """The surroundings in which an engine is opened.

    Attributes:
        models: directory of each model, by catalog name.
        num_gpus: number of GPUs of the process, or its share of one.
        neuron_cores: number of NeuronCores of the process.
        milvus_uri: URI of the vector store.
        milvus_token: its token; "" for none.
        milvus_alias: name of the live collection.
        objects_url: the object store, a folder or an s3:// URL.
        on_timing: called with the timing of each piece of work, if the engine measures it.
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
    """One engine of one component, as declared by its folder.

    Attributes:
        component: the part that it plays in a call.
        name: the name by which the configuration selects it.
        settings: type of its settings.
        open: creates the engine without warming it up, and imports its libraries only then.
        models: the models that it loads.
        extra: extra of the project that installs its libraries; "" if the base installation has them.
        runs_on_gpu: whether it computes on a GPU when its replica has one.
        needs_neuron: whether it needs NeuronCores.
        is_streaming: for a recogniser, whether gateways link to it instead of sending whole utterances.
        memory_control: the library that limits its GPU memory.
        variables: environment variables that its replicas need.
        problems: yields settings of a pool that cannot work together, as (key, message).
        fit: the effective settings on a processor by key, including those that were left open.
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
        """Whether the engine loads weights. A scripted engine does not."""
        return self.models is not _no_models


def spec_of(component: Component, name: str) -> EngineSpec:
    """Return the engine of a component by name. Raises LookupError if there is none."""
    found: EngineSpec = importlib.import_module(REGISTRY).spec_of(component, name)
    return found


def engine_names(component: Component) -> tuple[str, ...]:
    """Return the names of a component's engines."""
    names: tuple[str, ...] = importlib.import_module(REGISTRY).engine_names(component)
    return names


def known_keys(component: Component) -> set[str]:
    """Return the keys that any engine of a component accepts."""
    return {key for name in engine_names(component) for key in spec_of(component, name).settings.model_fields}


def checked_spec(component: Component, name: Any) -> EngineSpec:
    """Return the engine of a component, or refuse its name in the way pydantic refuses a value."""
    try:
        return spec_of(component, name)
    except LookupError:
        known = ", ".join(engine_names(component))
        raise PydanticCustomError("unknown_engine", "allowed: one of {known}", {"known": known}) from None


def parsed_strictly(kind: type[Section], values: Mapping[str, Any]) -> Any:
    """Parse plain data like the tree itself: by way of JSON, in which text is never a number."""
    return kind.model_validate_json(to_json(values), strict=True)


def default_settings(component: Component) -> EngineSettings:
    """Return the settings of a component's default engine."""
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
