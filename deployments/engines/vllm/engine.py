"""A chat model on vLLM that streams clauses. ADR 0003 says why it is stepped in this process on a CPU."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

from cluster.processor import this_processor
from deployments.engines.vllm import VllmSettings
from deployments.engines.vllm.load import VllmLoad, logger_for
from deployments.engines.vllm.settings import engine_arguments, environment
from deployments.engines.vllm.stepper import Delta, EngineStepper
from pipelines.errors import Component, EngineError
from pipelines.language.en.clauses import ClauseSplitter
from pipelines.ports import ChatMessage, Clause, GenerationRequest

_WARM_UP = GenerationRequest("warm-up", (ChatMessage("user", "Say hello in one short sentence."),), max_tokens=8)


class DeltaSource(Protocol):
    """An engine that streams text deltas: `EngineStepper` in this process, or `AsyncDeltaSource` in others."""

    def stream(self, request_id: str, prompt: Any, sampling: Any) -> AsyncIterator[Delta]:
        """Yield deltas until `is_last`. Closing the iterator aborts the request."""

    @property
    def is_alive(self) -> bool:
        """False once the engine can serve no more."""

    def load_stats(self) -> dict[str, float]:
        """Return the figures of `VllmLoad.stats` for this engine."""

    def close(self) -> None:
        """Stop it."""


class VllmLanguageModel:
    """Implements `pipelines.ports.LanguageModel` on vLLM.

    Requests run together (continuous batching) and share the cache of common prompt prefixes.

    Args:
        settings: the model's limits.
        model_dir: the model's files.
        num_gpus: number of GPUs of this process, or its share of one; 0 computes on the CPU.
    """

    def __init__(self, settings: VllmSettings, model_dir: Path, *, num_gpus: float) -> None:
        self._open(open_source(settings, model_dir, num_gpus=num_gpus), model_dir, settings.max_model_len)

    def _open(self, source: DeltaSource, model_dir: Path, max_model_len: int) -> None:
        self._source = source
        self._max_model_len = max_model_len
        self._tokenizer = _chat_tokenizer(model_dir)

    def warm_up(self) -> None:
        """Answer once, so that the first caller does not pay for allocation. Blocks; may be called from any thread."""
        if isinstance(self._source, EngineStepper):
            # The warm-up needs its own event loop, because a replica is constructed inside a running one.
            with ThreadPoolExecutor(max_workers=1) as outside_of_any_loop:
                outside_of_any_loop.submit(lambda: asyncio.run(self._answer_once())).result()
        # `AsyncLLM` is bound to the first loop that uses it, and warms its kernels at its start anyway.

    @property
    def is_alive(self) -> bool:
        """False once the engine can serve no more and the replica must be replaced."""
        return self._source.is_alive

    def load_stats(self) -> dict[str, float]:
        """Return how full the engine is, for the scaling policy (see `VllmLoad.stats`)."""
        return self._source.load_stats()

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        """Stream the answer's clauses, of which exactly one, perhaps empty, has `is_last`. Closing the iterator aborts.

        An answer that reaches `max_tokens` or the model's length ends there.

        Raises:
            EngineError: the prompt is empty or too long (not retryable), or the engine died (retryable elsewhere).
        """
        prompt = self._prompt_tokens(request)
        sampling = _sampling(request, self._max_model_len - len(prompt))
        splitter = ClauseSplitter()
        try:
            async with aclosing(
                self._source.stream(request.request_id, {"prompt_token_ids": prompt}, sampling)  # type: ignore[type-var]
            ) as deltas:
                async for delta in deltas:
                    for clause in _clauses(splitter, delta):
                        yield clause
        except EngineError:
            raise
        except Exception as error:
            is_refused = self._source.is_alive and isinstance(error, ValueError | TypeError)
            raise EngineError(Component.LANGUAGE_MODEL, type(error).__name__, retryable=not is_refused) from error

    def close(self) -> None:
        """Stop the engine, failing generations in progress. Does nothing on successive calls."""
        self._source.close()

    async def _answer_once(self) -> None:
        async for _ in self.generate(_WARM_UP):
            pass

    def _prompt_tokens(self, request: GenerationRequest) -> list[int]:
        if not request.messages:
            raise EngineError(Component.LANGUAGE_MODEL, "a prompt needs a message", retryable=False)
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(tokens) >= self._max_model_len:
            reason = f"the prompt has {len(tokens)} tokens, the model takes {self._max_model_len - 1}"
            raise EngineError(Component.LANGUAGE_MODEL, reason, retryable=False)
        return tokens


class AsyncDeltaSource:
    """vLLM's own `AsyncLLM`, which runs engine and workers in separate processes, as GPUs require."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        self._load = VllmLoad()
        self._in_flight = 0
        loggers = [logger_for(self._load)]
        self._engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments), stat_loggers=loggers)

    async def stream(self, request_id: str, prompt: Any, sampling: Any) -> AsyncIterator[Delta]:
        tokens = 0
        self._in_flight += 1
        try:
            async with aclosing(self._engine.generate(prompt, sampling, request_id)) as outputs:
                async for output in outputs:
                    tokens += len(output.outputs[0].token_ids)
                    prompt_tokens = len(output.prompt_token_ids or ())
                    yield Delta(output.outputs[0].text, tokens, prompt_tokens, bool(output.finished))
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._load.note_idle()

    def load_stats(self) -> dict[str, float]:
        return self._load.stats()

    @property
    def is_alive(self) -> bool:
        return not self._engine.errored

    def close(self) -> None:
        self._engine.shutdown()


def open_source(settings: VllmSettings, model_dir: Path, *, num_gpus: float) -> DeltaSource:
    """Start vLLM, in this process on a CPU and in separate processes on a GPU."""
    threads = settings.threads_on(this_processor())
    for name, value in environment(threads=threads, num_gpus=num_gpus).items():
        os.environ.setdefault(name, value)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # Ray has set it to the number of CPUs it reserves
    arguments = engine_arguments(settings, model_dir, num_gpus=num_gpus)
    if num_gpus:
        return AsyncDeltaSource(arguments)

    load = VllmLoad()

    def make_engine() -> Any:
        from vllm.engine.arg_utils import EngineArgs
        from vllm.v1.engine.llm_engine import LLMEngine

        # Unlike `AsyncLLM`, this engine runs no statistics loggers, not even ours, unless its own are enabled.
        told = EngineArgs(**(arguments | {"disable_log_stats": False}))
        return LLMEngine.from_engine_args(told, stat_loggers=[logger_for(load)])

    return EngineStepper(make_engine, load)


def _chat_tokenizer(model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model_dir), local_files_only=True)
    if not tokenizer.chat_template:
        raise EngineError(Component.LANGUAGE_MODEL, "the model has no chat template", retryable=False)
    return tokenizer


def _sampling(request: GenerationRequest, room_tokens: int) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=max(0.0, request.temperature),
        max_tokens=max(1, min(request.max_tokens, room_tokens)),
        output_kind=RequestOutputKind.DELTA,
    )


def _clauses(splitter: ClauseSplitter, delta: Delta) -> list[Clause]:
    texts = splitter.feed(delta.text)
    if delta.is_last:
        texts += splitter.flush()
    clauses = [Clause(text, False, delta.tokens, delta.prompt_tokens) for text in texts]
    if delta.is_last:
        clauses.append(Clause("", True, delta.tokens, delta.prompt_tokens))
    return clauses
