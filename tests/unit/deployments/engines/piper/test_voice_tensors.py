"""Where a Piper voice can be cut: found by the structure of its graph, whatever its tensors are called."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.engines.piper.onnx_graph import Node
from deployments.engines.piper.voice_tensors import VoiceTensors

pytestmark = pytest.mark.unit


def node(name: str, op_type: str, inputs: str, outputs: str) -> Node:
    return Node(name, op_type, tuple(inputs.split()), tuple(outputs.split()), b"")


# As Piper's export has them, without what lies between.
VOICE = (
    node("/enc_p/Split", "Split", "stats", "t1 t2"),
    node("/enc_p/Exp", "Exp", "t2", "t3"),
    node("/dp/RandomNormalLike", "RandomNormalLike", "t0", "t4"),
    node("/Ceil", "Ceil", "t5", "t6"),
    node("/Cast", "Cast", "lengths", "t7"),
    node("/RandomNormalLike", "RandomNormalLike", "t1", "t8"),
    node("/Mul_2", "Mul", "t8 t3", "t9"),
    node("/flow/Concat", "Concat", "t9", "t10"),
    node("/Mul_4", "Mul", "t10 t7", "t11"),
    node("/dec/conv_pre/Conv", "Conv", "t11 weights bias", "t12"),
)
FOUND = VoiceTensors(
    duration_noise="t4", latent_noise="t8", mean="t1", deviation="t3", mask="t7", durations="t6", latent="t11"
)


def tensors(nodes: Sequence[Node]) -> VoiceTensors:
    graph: Any = SimpleNamespace(nodes=list(nodes))
    return VoiceTensors.of(graph)


def test_tensors_are_found_by_what_makes_them_and_what_takes_them() -> None:
    assert tensors(VOICE) == FOUND


def test_order_of_nodes_and_of_factors_does_not_matter() -> None:
    for seed in range(10):
        mixed = list(VOICE)
        random.Random(seed).shuffle(mixed)
        turned = [replace(each, inputs=each.inputs[::-1]) if each.op_type == "Mul" else each for each in mixed]
        assert tensors(turned) == FOUND


@pytest.mark.parametrize(
    "missing",
    ["/dp/RandomNormalLike", "/Ceil", "/Cast", "/RandomNormalLike", "/Mul_2", "/flow/Concat", "/Mul_4",
     "/dec/conv_pre/Conv"],
)  # fmt: skip
def test_graph_that_lacks_a_part_is_no_voice(missing: str) -> None:
    with pytest.raises(ValueError, match="not the graph of a single-speaker Piper voice"):
        tensors([each for each in VOICE if each.name != missing])


def test_empty_graph_is_no_voice() -> None:
    with pytest.raises(ValueError, match="not the graph"):
        tensors([])
