from __future__ import annotations

import pytest

from deployments.engines.piper.onnx_graph import OnnxGraph

pytestmark = pytest.mark.unit


def message(*fields: tuple[int, bytes | str]) -> bytes:
    encoded = b""
    for number, value in fields:
        raw = value.encode() if isinstance(value, str) else value
        encoded += bytes([number << 3 | 2, len(raw)]) + raw
    return encoded


def node(name: str, source: str, target: str) -> bytes:
    return message((1, source), (2, target), (3, name), (4, "Relu"))


MODEL = bytes([1 << 3, 8]) + message(
    (
        7,
        message(
            (1, node("first", "x", "y")),
            (1, message((1, "y"), (1, "w"), (2, "z"), (3, "second"), (4, "Mul"))),
            (2, "graph"),
            (5, message((8, "w"))),
            (11, message((1, "x"))),
            (12, message((1, "z"))),
        ),
    )
)


def test_head_of_a_cut_keeps_only_what_its_output_needs() -> None:
    head = OnnxGraph(OnnxGraph(MODEL).cut(["y"]))
    assert [each.name for each in head.nodes] == ["first"]
    assert b"second" not in OnnxGraph(MODEL).cut(["y"])


def test_tail_of_a_cut_takes_the_inner_tensor_as_input() -> None:
    tail = OnnxGraph(MODEL).cut(["z"], float_inputs=["y"])
    assert [(each.name, each.inputs) for each in OnnxGraph(tail).nodes] == [("second", ("y", "w"))]
    assert tail.startswith(bytes([1 << 3, 8]))
    assert b"first" not in tail


def test_output_that_nothing_computes_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing computes"):
        OnnxGraph(MODEL).cut(["nowhere"])


@pytest.mark.parametrize("junk", [b"", b"\x3a", b"\x3a\xff\xff\x01x", b"\x0f", b"plain text", MODEL[:-3]])
def test_bytes_that_are_no_model_are_refused(junk: bytes) -> None:
    with pytest.raises(ValueError, match=r"ONNX|truncated|wire type"):
        OnnxGraph(junk)
