"""The scripted engines keep the contracts that the real ones keep."""

from __future__ import annotations

import pytest

from deployments.engines.scripted.detection import ScriptedSpeechDetector, ScriptedTurnDetector
from deployments.engines.scripted.language_model import ScriptedLanguageModel
from deployments.engines.scripted.retriever import ScriptedRetriever
from deployments.engines.scripted.synthesizer import ScriptedSynthesizer
from deployments.engines.scripted.transcriber import ScriptedTranscriber
from pipelines.ports import Passage
from tests.contract.engines.port_contracts import (
    LanguageModelContract,
    RetrieverContract,
    SpeechDetectorContract,
    SynthesizerContract,
    TranscriberContract,
    TurnDetectorContract,
)

pytestmark = pytest.mark.contract


class TestScriptedSpeechDetector(SpeechDetectorContract):
    @pytest.fixture
    def engine(self) -> ScriptedSpeechDetector:
        return ScriptedSpeechDetector()


class TestScriptedTurnDetector(TurnDetectorContract):
    @pytest.fixture
    def engine(self) -> ScriptedTurnDetector:
        return ScriptedTurnDetector()


class TestScriptedTranscriber(TranscriberContract):
    @pytest.fixture
    def engine(self) -> ScriptedTranscriber:
        return ScriptedTranscriber(["What is your return policy?"] * 2)


class TestScriptedRetriever(RetrieverContract):
    @pytest.fixture
    def engine(self) -> ScriptedRetriever:
        texts = (self.KNOWN, "Shipping takes three days.")
        return ScriptedRetriever([Passage(text, "faq.md", "Returns", 1.0, 0.9, 1.0) for text in texts])


class TestScriptedLanguageModel(LanguageModelContract):
    @pytest.fixture
    def engine(self) -> ScriptedLanguageModel:
        return ScriptedLanguageModel()


class TestScriptedSynthesizer(SynthesizerContract):
    @pytest.fixture
    def engine(self) -> ScriptedSynthesizer:
        return ScriptedSynthesizer()
