"""The arguments and environment of a vLLM engine, as pure data, so that they are tested without vLLM.

`environment` must be in effect before vLLM and torch are imported. Replicas get it from their runtime environment, and
the engine sets what is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cluster.processor import this_processor
from deployments.engines.vllm import CpuPlan, VllmSettings

_BLOCK_TOKENS_CPU = 32  # the CPU kernels need multiples of 32, and smaller blocks share more of a prompt's prefix


def engine_arguments(settings: VllmSettings, model_dir: Path, *, num_gpus: float) -> dict[str, Any]:
    """Return the keyword arguments of vLLM's `EngineArgs`.

    Args:
        settings: the model's limits.
        model_dir: Hugging Face layout: config.json, safetensors, tokenizer.
        num_gpus: GPUs of this process, or its share of one; 0: it computes on the CPU.
    """
    arguments: dict[str, Any] = {
        "model": str(model_dir),
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "generation_config": "vllm",
        "tensor_parallel_size": max(1, int(num_gpus)),
    }
    if not num_gpus:
        plan = CpuPlan.of(settings, this_processor())
        lookahead = {
            "method": "ngram",
            "num_speculative_tokens": plan.lookahead_tokens,
            "prompt_lookup_max": 4,
            "prompt_lookup_min": 1,
        }
        return arguments | {
            "dtype": plan.dtype,
            # Use the C++ kernels of vLLM instead of a chain of torch calls, whose overhead was a third of a step.
            "compilation_config": {"custom_ops": ["all"]},
            "speculative_config": lookahead if plan.lookahead_tokens else None,
            # Compilation would cost minutes at start-up on a laptop, for a model whose kernels are already fused.
            "enforce_eager": True,
            "block_size": _BLOCK_TOKENS_CPU,
            "kv_cache_memory_bytes": settings.kv_cache_bytes,
        }
    return arguments | {"dtype": settings.dtype, "gpu_memory_utilization": settings.gpu_memory_utilization}


def environment(*, threads: int, num_gpus: float) -> dict[str, str]:
    """Return the environment variables that the process needs.

    Args:
        threads: number of OpenMP threads on a CPU.
        num_gpus: GPUs of this process, or its share of one; 0: it computes on the CPU.
    """
    variables = {
        "VLLM_PLUGINS": "",  # NeMo registers a plugin that prevents vLLM from starting
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not num_gpus:
        variables |= {
            # The engine steps in this process, which needs one set of imports and weights instead of three processes.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(threads),
            # Waiting OpenMP threads sleep instead of spinning, because synthesis runs on the same cores.
            "OMP_WAIT_POLICY": "PASSIVE",
            "KMP_BLOCKTIME": "0",
        }
    return variables
