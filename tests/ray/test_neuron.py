"""The Inferentia shell on a real Ray cluster whose NeuronCores are only claimed, over the CPU build of vLLM.

What this shows: placement by whole cores, the refusal without a compiled engine, the fetch, and the shell's streaming.
What it cannot show: anything of Neuron's compiler, runtime or speed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.catalog.catalog import ModelCatalog
from cluster.config.environment import process_environment
from cluster.config.parts import Addresses, PoolPart
from cluster.config.schema import VoxrayConfig
from deployments.engines.neuron import NeuronSettings
from deployments.engines.neuron.artifacts import FolderStore, publish_artifacts
from deployments.engines.neuron.engine import artifact_key
from deployments.shells.opener import EngineOpener
from pipelines.errors import Component
from pipelines.ports import ChatMessage, GenerationRequest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400), pytest.mark.filterwarnings("ignore")]
MODEL = "smollm2-135m-instruct"
CORES = 2


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="module")
def part(objects: Path, tmp_path_factory: pytest.TempPathFactory) -> PoolPart:
    # Compiled engines are kept beside the model's files; those of a test must not stay in the user's cache.
    model = tmp_path_factory.mktemp("models") / MODEL / "revision" / "files"
    model.parent.mkdir(parents=True)
    model.symlink_to(ModelCatalog.load(VoxrayConfig(), process_environment()).fetch(MODEL))
    return PoolPart(
        component=Component.LANGUAGE_MODEL,
        pool="neuron",
        settings=NeuronSettings(model=MODEL, device="cpu", max_model_len=512, max_num_seqs=2, buckets=(512,)),
        neuron_cores=CORES,
        addresses=Addresses(objects_url=str(objects)),
        models={MODEL: str(model)},
    )


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    import ray

    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(dict.fromkeys([root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]))
    ray.init(
        "local",
        num_cpus=4,
        resources={"neuron_cores": CORES},
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": path, "VLLM_PLUGINS": "", "HF_HUB_OFFLINE": "1"}},
    )
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def replica(ray_cluster: Any) -> Any:
    from deployments.shells.language_model import LanguageModel

    class Replica(LanguageModel):
        """The deployment's class, which also tells what its process was given."""

        async def visible_cores(self) -> str:
            return os.environ["NEURON_RT_VISIBLE_CORES"]

    return ray_cluster.remote(Replica).options(num_cpus=1, resources={"neuron_cores": CORES})


def test_replica_without_a_compiled_engine_refuses_and_says_what_to_compile(
    ray_cluster: Any, replica: Any, part: PoolPart
) -> None:
    refused = replica.remote(EngineOpener(part))
    with pytest.raises(ray_cluster.exceptions.RayActorError) as refusal:
        ray_cluster.get(refused.visible_cores.remote(), timeout=120)
    assert "no compiled engine smollm2-135m-instruct/" in str(refusal.value)
    assert "python -m deployments.commands.compile_neuron" in str(refusal.value)
    assert "max_num_seqs=2" in str(refusal.value)


def test_replica_answers_on_whole_cores_and_a_second_waits_for_them(
    ray_cluster: Any, replica: Any, part: PoolPart, objects: Path, tmp_path: Path
) -> None:
    (tmp_path / "graph.neff").write_bytes(b"nothing reads it here: the CPU build compiles by itself")
    settings = NeuronSettings.model_validate(part.settings.model_dump())
    key = artifact_key(Path(part.models[MODEL]), settings, CORES)
    publish_artifacts(FolderStore(str(objects / "neuron")), key, tmp_path)

    served = replica.remote(EngineOpener(part))
    assert ray_cluster.get(served.visible_cores.remote(), timeout=300) == "0,1"
    second = replica.remote(EngineOpener(part))
    ready, _ = ray_cluster.wait([second.visible_cores.remote()], timeout=1)
    assert ready == []
    ray_cluster.kill(second)

    question = "The shop opens at nine. When does the shop open?"
    request = GenerationRequest("r1", (ChatMessage("user", question),), max_tokens=24)
    clauses = [ray_cluster.get(item) for item in served.generate.options(num_returns="streaming").remote(request)]
    assert clauses[-1].is_last
    assert "nine" in "".join(clause.text for clause in clauses).lower()
    assert (Path(part.models[MODEL]).parent / "compiled" / key.path / "graph.neff").exists()
