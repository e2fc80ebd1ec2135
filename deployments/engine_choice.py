"""From configuration to engines: which class stands behind each port, with which weights.

Engine modules are imported inside the functions: a replica loads only the libraries of its own engine.

The arguments of the application hold what every replica reads. What only one engine reads stands in the runtime
environment of its replicas (`cluster.render.serve_config`), so that a change of it replaces no other;
`in_this_replica` adds it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.config.environment import process_environment, secret
from cluster.config.schema import ReplicaConfig, TranscriberConfig, VoxrayConfig
from cluster.render.serve_config import ENGINE_VARIABLE
from deployments.shells.language_model import LanguageModelEngine
from deployments.shells.synthesizer import SynthesizerEngine
from deployments.shells.transcriber import RecognizerEngine
from pipelines.errors import ConfigError
from pipelines.hearing.link import StreamingRecognizer
from pipelines.ports import Retriever, SpeechDetector, TurnDetector

if TYPE_CHECKING:
    from deployments.engines.milvus.retriever import Reranker, RetrievalTiming
    from deployments.engines.nemo.recognizer import NemoSettings

# Streams whose caches are allocated where `transcriber.max_streams` is 0; how many are admitted, the warm-up measures.
DEFAULT_SLOTS = 64


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Makes the engines that a configuration names.

    Attributes:
        models: directory of each model, by catalog name.
        milvus_uri: where the vector store answers.
        objects_url: the object store, a folder or s3:// URL.
    """

    config: VoxrayConfig
    models: Mapping[str, str]
    milvus_uri: str = ""
    objects_url: str = ""

    def speech_detector(self) -> SpeechDetector:
        gateway = self.config.gateway
        if gateway.vad_engine == "scripted":
            from deployments.engines.scripted.engines import ScriptedSpeechDetector

            return ScriptedSpeechDetector()
        from deployments.engines.vad.silero import SileroSpeechDetector

        model_path = self._file(gateway.vad_model, "*.onnx")
        detector = SileroSpeechDetector(model_path, tick_ms=gateway.vad_tick_ms, threads=gateway.replicas.threads)
        detector.warm_up()
        return detector

    def turn_detector(self) -> TurnDetector:
        gateway = self.config.gateway
        if gateway.turn_engine == "scripted":
            from deployments.engines.scripted.engines import ScriptedTurnDetector

            return ScriptedTurnDetector()
        from deployments.engines.turn_end.smart_turn import SmartTurnDetector

        detector = SmartTurnDetector(self._file(gateway.turn_model, "*.onnx"), threads=gateway.replicas.threads)
        detector.warm_up()
        return detector

    def recognizer(self) -> RecognizerEngine:
        here = self.in_this_replica()
        transcriber = here.config.transcriber
        if transcriber.engine == "scripted":
            from deployments.engines.scripted.recognizer import ScriptedRecognizer

            return ScriptedRecognizer()
        from deployments.engines.whisper.recognizer import WhisperRecognizer

        _yield_cpu(transcriber.replicas)
        return WhisperRecognizer(
            here._folder(transcriber.model),
            threads=transcriber.replicas.threads,
            language=transcriber.language,
            prompt=here.config.agent.expected_words,
        )

    def streaming_recognizer(self) -> StreamingRecognizer:
        """Make the engine that serves many streams at once (`transcriber.engine`: nemo, scripted-streaming).

        Raises:
            ConfigError: the configured one takes whole utterances.
        """
        here = self.in_this_replica()
        transcriber = here.config.transcriber
        if transcriber.engine == "scripted-streaming":
            from deployments.engines.scripted.streaming import ScriptedStepper
            from deployments.engines.streaming.loop import LoopLimits, StreamLoop

            slots = transcriber.max_streams or DEFAULT_SLOTS

            def stepper() -> ScriptedStepper:
                return ScriptedStepper(
                    slots=slots, chunk_ms=transcriber.chunk_ms, end_silence_ms=transcriber.end_silence_ms
                )

            return StreamLoop(stepper, LoopLimits(max_streams=slots))
        if transcriber.engine != "nemo":
            raise ConfigError(f"transcriber.engine {transcriber.engine} does not stream")
        from deployments.engines.nemo.recognizer import open_nemo_recognizer

        _yield_cpu(transcriber.replicas)
        model = here._file(transcriber.model, "*.nemo")
        return open_nemo_recognizer(model, settings=nemo_settings(transcriber, model))

    def retriever(self, on_timing: Callable[[RetrievalTiming], None] | None = None) -> Retriever:
        here = self.in_this_replica()
        retriever = here.config.retriever
        if retriever.engine == "scripted":
            from deployments.engines.scripted.engines import ScriptedRetriever

            return ScriptedRetriever()
        from deployments.engines.embedding.embedder import SentenceEncoder
        from deployments.engines.milvus.retriever import MilvusRetriever, RetrievalSettings

        _yield_cpu(retriever.replicas)
        encoder = SentenceEncoder(here._folder(retriever.embedding_model), threads=retriever.replicas.threads)
        encoder.encode(["warm up"])
        milvus = here.config.services.milvus
        token = secret(process_environment(), milvus.token_env, needed_by="services.milvus.token_env")
        return MilvusRetriever(
            here.milvus_uri,
            milvus.alias,
            encoder,
            token=token,
            settings=RetrievalSettings(
                candidates=retriever.candidates,
                rerank_candidates=retriever.rerank_candidates,
                cached_vectors=retriever.cached_vectors,
            ),
            reranker=here._reranker(),
            on_timing=on_timing,
        )

    def _reranker(self) -> Reranker | None:
        retriever = self.config.retriever
        if not retriever.rerank_model:
            return None
        from deployments.engines.embedding.cross_encoder import CrossEncoder

        encoder = CrossEncoder(self._folder(retriever.rerank_model), threads=retriever.replicas.threads)
        encoder.warm_up()
        return encoder

    def language_model(self) -> LanguageModelEngine:
        here = self.in_this_replica()
        model = here.config.language_model
        if model.engine == "neuron":
            return here._neuron(model.replicas)
        if model.engine == "scripted":
            from deployments.engines.scripted.engines import ScriptedLanguageModel

            return ScriptedLanguageModel()
        from deployments.engines.vllm.engine import VllmLanguageModel

        _yield_cpu(model.replicas)
        return VllmLanguageModel.from_config(here._folder(model.model), model)

    def neuron_language_model(self) -> LanguageModelEngine:
        """Make the engine of the second pool (`language_model.neuron`)."""
        here = self.in_this_replica()
        neuron = here.config.language_model.neuron
        if neuron.device == "scripted":
            from deployments.engines.scripted.engines import ScriptedLanguageModel

            return ScriptedLanguageModel()
        return here._neuron(neuron.replicas)

    def _neuron(self, replicas: ReplicaConfig) -> LanguageModelEngine:
        from deployments.engines.neuron.engine import open_neuron_engine

        model = self.config.language_model
        url = artifacts_url(self.config, self.objects_url)
        return open_neuron_engine(self._folder(model.model), model, replicas.neuron_cores, url)

    def synthesizer(self) -> SynthesizerEngine:
        here = self.in_this_replica()
        synthesizer = here.config.synthesizer
        if synthesizer.engine == "scripted":
            from deployments.engines.scripted.engines import ScriptedSynthesizer

            return ScriptedSynthesizer()
        from deployments.engines.piper.synthesizer import PiperSynthesizer

        _yield_cpu(synthesizer.replicas)
        return PiperSynthesizer(here._file(synthesizer.model, "*.onnx"), threads=synthesizer.replicas.threads)

    def in_this_replica(self) -> EngineChoice:
        """Return this choice with what the replica's own environment adds: one section, and the paths of its models."""
        text = process_environment().get(ENGINE_VARIABLE, "")
        if not text:
            return self
        own = json.loads(text)
        section = type(getattr(self.config, own["section"])).model_validate(own["settings"])
        config = self.config.model_copy(update={own["section"]: section})
        return replace(self, config=config, models={**self.models, **own["models"]})

    def _folder(self, model: str) -> Path:
        try:
            return Path(self.models[model])
        except KeyError:
            raise ConfigError(f"no path is known for model '{model}'; fetch it with 'voxray models fetch'") from None

    def _file(self, model: str, pattern: str) -> Path:
        folder = self._folder(model)
        found = sorted(folder.rglob(pattern))
        if len(found) != 1:
            raise ConfigError(f"model '{model}' should hold one {pattern} file in {folder}, it holds {len(found)}")
        return found[0]


def _yield_cpu(replicas: ReplicaConfig) -> None:
    """Lower this process's priority as configured; the engine's threads inherit it."""
    if replicas.niceness:
        os.nice(replicas.niceness)


def nemo_settings(transcriber: TranscriberConfig, model: Path) -> NemoSettings:
    """Return how the configuration runs a NeMo model, the `.nemo` file `model`."""
    from deployments.engines.nemo.ngrams import language_model_of
    from deployments.engines.nemo.prefix_beam import BeamHabits
    from deployments.engines.nemo.recognizer import NemoSettings
    from deployments.engines.nemo.stepper import StepperLimits
    from deployments.engines.streaming.loop import LoopLimits

    # RNN-T has no search with a language model, so none is taken unasked.
    language_model = "none" if (transcriber.language_model, transcriber.decoder) == ("auto", "rnnt") else None
    return NemoSettings(
        chunk_ms=transcriber.chunk_ms,
        decoder=transcriber.decoder,
        device=transcriber.device,
        threads=transcriber.replicas.threads,
        phrases={entry.tenant: entry.phrases for entry in transcriber.phrases},
        language_model=language_model_of(language_model or transcriber.language_model, model),
        beam=BeamHabits(weight=transcriber.language_weight),
        stepper=StepperLimits(
            slots=transcriber.max_streams or DEFAULT_SLOTS, end_silence_ms=transcriber.end_silence_ms
        ),
        loop=LoopLimits(max_streams=transcriber.max_streams),
    )


def artifacts_url(config: VoxrayConfig, objects_url: str) -> str:
    """Return where compiled Neuron engines lie."""
    return config.language_model.neuron.artifacts_url or f"{objects_url.rstrip('/')}/neuron"
