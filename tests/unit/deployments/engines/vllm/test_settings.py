from __future__ import annotations

from pathlib import Path

import pytest

from cluster.processor import Processor
from deployments.engines.neuron.engine import CompiledModel, NeuronLanguageModel, neuron_arguments, neuron_environment
from deployments.engines.vllm import CpuPlan, VllmSettings
from deployments.engines.vllm.settings import engine_arguments, environment
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit

MODEL = Path("models/llama")


def test_cpu_engine_is_eager_in_process_and_bounded_in_memory() -> None:
    settings = VllmSettings(kv_cache_bytes=64 << 20)
    arguments, variables = engine_arguments(settings, MODEL, num_gpus=0), environment(threads=2, num_gpus=0)
    assert arguments["enforce_eager"] is True
    assert arguments["kv_cache_memory_bytes"] == 64 << 20
    assert "gpu_memory_utilization" not in arguments
    assert variables["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["VLLM_PLUGINS"] == ""


@pytest.mark.parametrize(("features", "dtype"), [(("avx2",), "float32"), (("avx2", "avx512_bf16"), "bfloat16")])
def test_data_type_on_a_cpu_is_the_one_that_it_computes_fast_in(
    features: tuple[str, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.engines.vllm.settings.this_processor", lambda: Processor("x", 2, features))
    assert engine_arguments(VllmSettings(), MODEL, num_gpus=0)["dtype"] == dtype
    assert engine_arguments(VllmSettings(dtype="bfloat16"), MODEL, num_gpus=0)["dtype"] == "bfloat16"
    assert engine_arguments(VllmSettings(), MODEL, num_gpus=1)["dtype"] == "auto"


def test_gpu_engine_takes_its_share_of_the_gpu_and_no_cpu_settings() -> None:
    settings = VllmSettings(gpu_memory_utilization=0.4)
    arguments, variables = engine_arguments(settings, MODEL, num_gpus=2), environment(threads=1, num_gpus=2)
    assert arguments["gpu_memory_utilization"] == 0.4
    assert arguments["tensor_parallel_size"] == 2
    assert not {"enforce_eager", "kv_cache_memory_bytes"} & arguments.keys()
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in variables


@pytest.mark.parametrize(
    ("settings", "features", "wanted"),
    [
        (VllmSettings(), ("avx2",), CpuPlan("float32", 2, 5)),
        (VllmSettings(), ("avx2", "avx512f", "avx512_bf16"), CpuPlan("bfloat16", 1, 5)),
        (VllmSettings(dtype="bfloat16"), ("avx2",), CpuPlan("bfloat16", 2, 2)),
        (VllmSettings(dtype="float32", threads=3, lookahead_tokens=0), ("avx512_bf16",), CpuPlan("float32", 3, 0)),
    ],
)
def test_what_is_left_open_suits_the_processor_and_what_is_set_stands(
    settings: VllmSettings, features: tuple[str, ...], wanted: CpuPlan
) -> None:
    assert CpuPlan.of(settings, Processor("x", 4, features, physical_cores=4)) == wanted


@pytest.mark.parametrize(("num_gpus", "degree"), [(0.25, 1), (1, 1), (4, 4)])
def test_model_is_split_over_the_whole_gpus_of_its_replica(num_gpus: float, degree: int) -> None:
    assert engine_arguments(VllmSettings(), MODEL, num_gpus=num_gpus)["tensor_parallel_size"] == degree


def compiled(artifacts: Path = Path("artifacts"), **changes: object) -> CompiledModel:
    shapes = {"max_model_len": 4096, "max_num_seqs": 4, "tensor_parallel_size": 2, "buckets": (512, 1024, 2048, 4096)}
    return CompiledModel(MODEL, artifacts, **{**shapes, **changes})  # type: ignore[arg-type]


def test_neuron_blocks_cover_every_sequence_at_full_length() -> None:
    arguments = neuron_arguments(compiled(max_model_len=4000))
    assert arguments["num_gpu_blocks_override"] == 125 * 4
    assert arguments["enable_chunked_prefill"] is False
    assert arguments["distributed_executor_backend"] == "uni"
    assert arguments["additional_config"]["override_neuron_config"]["context_encoding_buckets"][-1] == 4096


def test_neuron_batch_of_one_has_no_prefix_cache() -> None:
    settings = compiled(max_num_seqs=1)
    assert neuron_arguments(settings)["enable_prefix_caching"] is False
    assert neuron_environment(settings)["NEURON_COMPILED_ARTIFACTS"] == "artifacts"


@pytest.mark.parametrize(
    "changes",
    [{"tensor_parallel_size": 4}, {"buckets": (512, 1024)}, {"buckets": (4096, 512)}, {"buckets": ()}],
)
def test_neuron_shapes_known_to_fail_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        neuron_arguments(compiled(**changes))


def test_neuron_without_compiled_model_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="compile"):
        NeuronLanguageModel(compiled(tmp_path))
