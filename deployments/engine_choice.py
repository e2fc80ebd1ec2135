"""From configuration to engines: which class stands behind each port, with which weights.

Engine modules are imported inside the functions: a replica loads only the libraries of its own engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.config.environment import process_environment, secret
from cluster.config.schema import ReplicaConfig, VoxrayConfig
from deployments.language_model import LanguageModelEngine
from deployments.synthesizer import SynthesizerEngine
from deployments.transcriber import RecognizerEngine
from pipelines.errors import ConfigError
from pipelines.ports import Retriever, SpeechDetector, TurnDetector


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """Makes the engines that a configuration names.

    Attributes:
        models: directory of each model, by catalog name.
        milvus_uri: where the vector store answers.
    """

    config: VoxrayConfig
    models: Mapping[str, str]
    milvus_uri: str = ""

    def speech_detector(self) -> SpeechDetector:
        gateway = self.config.gateway
        if gateway.vad_engine == "scripted":
            from deployments.engines.scripted import ScriptedSpeechDetector

            return ScriptedSpeechDetector()
        from deployments.engines.silero import SileroSpeechDetector

        model_path = self._file(gateway.vad_model, "*.onnx")
        detector = SileroSpeechDetector(model_path, tick_ms=gateway.vad_tick_ms, threads=gateway.replicas.threads)
        detector.warm_up()
        return detector

    def turn_detector(self) -> TurnDetector:
        gateway = self.config.gateway
        if gateway.turn_engine == "scripted":
            from deployments.engines.scripted import ScriptedTurnDetector

            return ScriptedTurnDetector()
        from deployments.engines.smart_turn import SmartTurnDetector

        detector = SmartTurnDetector(self._file(gateway.turn_model, "*.onnx"), threads=gateway.replicas.threads)
        detector.warm_up()
        return detector

    def recognizer(self) -> RecognizerEngine:
        transcriber = self.config.transcriber
        if transcriber.engine == "scripted":
            from deployments.engines.scripted_recognizer import ScriptedRecognizer

            return ScriptedRecognizer()
        from deployments.engines.whisper_ct2 import WhisperRecognizer

        _yield_cpu(transcriber.replicas)
        return WhisperRecognizer(
            self._folder(transcriber.model),
            threads=transcriber.replicas.threads,
            language=transcriber.language,
            prompt=self.config.agent.expected_words,
        )

    def retriever(self) -> Retriever:
        retriever = self.config.retriever
        if retriever.engine == "scripted":
            from deployments.engines.scripted import ScriptedRetriever

            return ScriptedRetriever()
        from deployments.engines.embedder import SentenceEncoder
        from deployments.engines.milvus_retriever import MilvusRetriever

        _yield_cpu(retriever.replicas)
        encoder = SentenceEncoder(self._folder(retriever.embedding_model), threads=retriever.replicas.threads)
        encoder.encode(["warm up"])
        milvus = self.config.services.milvus
        token = secret(process_environment(), milvus.token_env, needed_by="services.milvus.token_env")
        return MilvusRetriever(self.milvus_uri, milvus.alias, encoder, token=token)

    def language_model(self) -> LanguageModelEngine:
        model = self.config.language_model
        if model.engine == "scripted":
            from deployments.engines.scripted import ScriptedLanguageModel

            return ScriptedLanguageModel()
        if model.engine == "neuron":
            from deployments.engines.neuron import NeuronLanguageModel, NeuronSettings

            folder = self._folder(model.model)
            return NeuronLanguageModel(NeuronSettings(folder, folder / "neuron", max_model_len=model.max_model_len))
        from deployments.engines.vllm_engine import VllmLanguageModel

        _yield_cpu(model.replicas)
        return VllmLanguageModel.from_config(self._folder(model.model), model)

    def synthesizer(self) -> SynthesizerEngine:
        synthesizer = self.config.synthesizer
        if synthesizer.engine == "scripted":
            from deployments.engines.scripted import ScriptedSynthesizer

            return ScriptedSynthesizer()
        from deployments.engines.piper import PiperSynthesizer

        _yield_cpu(synthesizer.replicas)
        return PiperSynthesizer(self._file(synthesizer.model, "*.onnx"), threads=synthesizer.replicas.threads)

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
