"""What a vLLM engine is started with: pure data, so that it is tested without vLLM.

`environment` must be in force before vLLM and torch are imported; replicas get it from their runtime environment,
and the engine sets what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

_BLOCK_TOKENS_CPU = 32  # the CPU kernels want multiples of 32; smaller blocks share more of a prompt's prefix


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """Limits of one engine.

    Attributes:
        model_dir: Hugging Face layout: config.json, safetensors, tokenizer.
        device: where it runs; decides dtype, memory and how the engine is stepped.
        threads: OpenMP threads (cpu only).
        kv_cache_bytes: key-value cache (cpu only).
        lookahead_tokens: tokens guessed by prompt lookup and checked in one step (cpu only; 0: none). Answers quote the
            passage in the prompt, so many guesses hold, and a step costs the same for six tokens as for one.
        gpu_memory_utilization: share of the GPU for weights and cache (cuda only).
    """

    model_dir: Path
    device: Literal["cpu", "cuda"] = "cpu"
    max_model_len: int = 2048
    max_num_seqs: int = 8
    threads: int = 1
    kv_cache_bytes: int = 256 * 1024 * 1024
    gpu_memory_utilization: float = 0.85
    tensor_parallel_size: int = 1
    lookahead_tokens: int = 5


def engine_arguments(settings: VllmSettings) -> dict[str, Any]:
    """Return the keyword arguments of vLLM's `EngineArgs`."""
    arguments: dict[str, Any] = {
        "model": str(settings.model_dir),
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "generation_config": "vllm",
        "tensor_parallel_size": settings.tensor_parallel_size,
    }
    if settings.device == "cpu":
        lookahead = {
            "method": "ngram",
            "num_speculative_tokens": settings.lookahead_tokens,
            "prompt_lookup_max": 4,
            "prompt_lookup_min": 1,
        }
        return arguments | {
            "dtype": "bfloat16",
            # The C++ kernels of vLLM instead of a chain of torch calls: a third of a step was their overhead.
            "compilation_config": {"custom_ops": ["all"]},
            "speculative_config": lookahead if settings.lookahead_tokens else None,
            # Compiling costs minutes of start-up on a laptop for a model whose kernels are already fused.
            "enforce_eager": True,
            "block_size": _BLOCK_TOKENS_CPU,
            "kv_cache_memory_bytes": settings.kv_cache_bytes,
        }
    return arguments | {"dtype": "auto", "gpu_memory_utilization": settings.gpu_memory_utilization}


def environment(settings: VllmSettings) -> dict[str, str]:
    """Return the environment variables that the process needs."""
    variables = {
        "VLLM_PLUGINS": "",  # NeMo registers a plugin that breaks vLLM's start
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if settings.device == "cpu":
        variables |= {
            # The engine steps in this process: one set of imports and of weights instead of three processes.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(settings.threads),
            # Waiting OpenMP threads sleep instead of spinning: synthesis runs on the same cores.
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
        }
    return variables
