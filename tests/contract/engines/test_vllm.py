"""vLLM on CPU with the converted SmolLM2: the contract, refusals and a clean end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployments.engines.vllm import VllmSettings
from deployments.engines.vllm.engine import VllmLanguageModel
from pipelines.errors import EngineError
from pipelines.ports import GenerationRequest
from tests.contract.engines.port_contracts import LanguageModelContract, clauses_of, joined, prompt

# One cold start of vLLM takes most of this on a busy machine.
pytestmark = [pytest.mark.contract, pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]


class TestVllm(LanguageModelContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, model_dir: Callable[[str], Path]) -> Iterator[VllmLanguageModel]:
        settings = VllmSettings(max_model_len=512, kv_cache_bytes=64 << 20)
        engine = VllmLanguageModel(settings, model_dir("smollm2-135m-instruct"), num_gpus=0)
        engine.warm_up()
        yield engine
        engine.close()
        engine.close()
        assert "vllm-stepper" not in {thread.name for thread in threading.enumerate()}

    async def test_known_fact_is_answered(self, engine: VllmLanguageModel) -> None:
        question = "The shop opens at nine. When does the shop open?"
        assert "nine" in joined(await clauses_of(engine, prompt(question, request_id="fact"))).lower()

    async def test_prompt_beyond_the_model_is_refused_and_not_retryable(self, engine: VllmLanguageModel) -> None:
        for request in (prompt("word " * 600, request_id="long"), GenerationRequest("empty", (), max_tokens=1)):
            with pytest.raises(EngineError) as refusal:
                await clauses_of(engine, request)
            assert not refusal.value.retryable

    async def test_answer_stops_at_its_limit(self, engine: VllmLanguageModel) -> None:
        clauses = await clauses_of(engine, prompt("Count to one hundred.", request_id="limit", max_tokens=5))
        assert clauses[-1].tokens == 5

    async def test_cache_in_use_waiting_requests_and_first_tokens_are_told(self, engine: VllmLanguageModel) -> None:
        # More than run together, so that some wait. The prompts differ, or they would share their blocks.
        requests = [
            prompt(f"Tell me {n} long stories of the sea.", request_id=f"kv{n}", max_tokens=24) for n in range(12)
        ]
        before = engine.load_stats()
        await asyncio.gather(*(clauses_of(engine, request) for request in requests))
        told = engine.load_stats()
        assert 0 < told["kv_use"] <= 1
        assert told["first_token_ms"] > 0
        assert told["waiting"] > before["waiting"]
