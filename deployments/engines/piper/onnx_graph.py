"""Cuts an ONNX graph in two, working on the wire format itself and without the `onnx` package.

A voice exported as one graph can only be run as a whole. If the graph is cut before its decoder, the decoder can run on
pieces of the latent, and speech starts as soon as the first piece is decoded. Protocol-buffer messages are lists of
tagged fields, so a cut copies the nodes and initialisers that the wanted outputs need and writes new input and output
fields.

Field numbers (onnx.proto): ModelProto.graph 7; GraphProto node 1, initializer 5, input 11, output 12;
NodeProto input 1, output 2, name 3, op_type 4; TensorProto.name 8; ValueInfoProto name 1, type 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_GRAPH = 7
_NODE, _GRAPH_NAME, _INITIALIZER, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph. `raw` is its message exactly as in the file."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    raw: bytes


class OnnxGraph:
    """A model read for cutting.

    Args:
        model: the bytes of an .onnx file whose weights are inside it.

    Raises:
        ValueError: the bytes are not an ONNX model, or are truncated.
    """

    def __init__(self, model: bytes) -> None:
        self._head = b""
        self._inputs: dict[str, bytes] = {}
        self._initializers: dict[str, bytes] = {}
        self.nodes: list[Node] = []
        for field, kind, value in _fields(model):
            if field == _GRAPH:
                self._read_graph(value)
            else:
                self._head += _encode(field, kind, value)
        if not self.nodes:
            raise ValueError("no ONNX graph in these bytes")

    def _read_graph(self, graph: bytes) -> None:
        for field, _, value in _fields(graph):
            if field == _NODE:
                self.nodes.append(_node(value))
            elif field == _INITIALIZER:
                self._initializers[_text(value, 8)] = value
            elif field == _INPUT:
                self._inputs[_text(value, 1)] = value

    def cut(self, outputs: Sequence[str], *, float_inputs: Sequence[str] = ()) -> bytes:
        """Return a model that computes `outputs`, taking `float_inputs` (tensors inside this graph) as given.

        Of the graph's own inputs, only those that are still needed remain.

        Raises:
            ValueError: an output cannot be computed.
        """
        producers = {name: node for node in self.nodes for name in node.outputs}
        needed: set[str] = set()
        kept: set[int] = set()
        pending = list(outputs)
        while pending:
            name = pending.pop()
            if not name or name in needed:
                continue
            needed.add(name)
            if name in float_inputs or name in self._inputs or name in self._initializers:
                continue
            if name not in producers:
                raise ValueError(f"nothing computes {name!r}")
            kept.add(id(producers[name]))
            pending.extend(producers[name].inputs)
        graph = _encode(_GRAPH_NAME, _BYTES, b"cut")
        graph += b"".join(_encode(_NODE, _BYTES, node.raw) for node in self.nodes if id(node) in kept)
        graph += b"".join(
            _encode(_INITIALIZER, _BYTES, raw) for key, raw in self._initializers.items() if key in needed
        )
        graph += b"".join(_encode(_INPUT, _BYTES, raw) for key, raw in self._inputs.items() if key in needed)
        graph += b"".join(_encode(_INPUT, _BYTES, _float_tensor(key)) for key in float_inputs)
        graph += b"".join(_encode(_OUTPUT, _BYTES, _encode(1, _BYTES, key.encode())) for key in outputs)
        return self._head + _encode(_GRAPH, _BYTES, graph)


def _node(raw: bytes) -> Node:
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    for field, _, value in _fields(raw):
        if field in texts:
            texts[field].append(value.decode())
    return Node("".join(texts[3]), "".join(texts[4]), tuple(texts[1]), tuple(texts[2]), raw)


def _text(message: bytes, wanted: int) -> str:
    return next((value.decode() for field, _, value in _fields(message) if field == wanted), "")


def _float_tensor(name: str) -> bytes:
    """Return the ValueInfoProto of a float tensor: type (2) is tensor_type (1) with elem_type (1) FLOAT = 1."""
    tensor_type = _encode(1, _VARINT, _varint(1))
    return _encode(1, _BYTES, name.encode()) + _encode(2, _BYTES, _encode(1, _BYTES, tensor_type))


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (field number, wire type, value) for each field of a message. A varint's value is its encoded bytes."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        kind, start = tag & 7, position
        if kind == _VARINT:
            _, position = _read_varint(message, position)
        elif kind == _BYTES:
            length, start = _read_varint(message, position)
            position = start + length
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"unknown wire type {kind}")
        if position > len(message):
            raise ValueError("truncated message")
        yield tag >> 3, kind, message[start:position]


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(message):
            raise ValueError("truncated message")
        byte = message[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _encode(field: int, kind: int, value: bytes) -> bytes:
    length = _varint(len(value)) if kind == _BYTES else b""
    return _varint(field << 3 | kind) + length + value
