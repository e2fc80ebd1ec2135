"""Finds where the exported graph of a Piper voice can be cut. The model is VITS (Kim, Kong and Son, 2021)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deployments.engines.piper.onnx_graph import Node, OnnxGraph


@dataclass(frozen=True, slots=True)
class VoiceTensors:
    """Names of tensors inside the graph. Shapes are for one sentence of N phoneme ids and F columns, with C channels.

    Attributes:
        duration_noise: [1, 2, N], standard normal, drawn by the graph for the durations.
        latent_noise: [1, C, F], standard normal, drawn by the graph for the latent.
        mean: [1, C, F] of the prior of the latent.
        deviation: [1, C, F], standard deviation of the prior, before `scales[0]`.
        mask: [1, 1, F], ones for a single sentence.
        durations: columns of each phoneme id, N values.
        latent: [1, C, F], what the decoder turns into 256 samples a column.
    """

    duration_noise: str
    latent_noise: str
    mean: str
    deviation: str
    mask: str
    durations: str
    latent: str

    @classmethod
    def of(cls, graph: OnnxGraph) -> VoiceTensors:
        """Find the tensors by the structure of Piper's export.

        Raises:
            ValueError: the graph is not that of a single-speaker Piper voice.
        """
        try:
            return cls._found(graph)
        except (StopIteration, KeyError) as error:
            raise ValueError("not the graph of a single-speaker Piper voice") from error

    @classmethod
    def _found(cls, graph: OnnxGraph) -> VoiceTensors:
        producers = {name: node for node in graph.nodes for name in node.outputs}
        latent = _node(graph, lambda node: node.name == "/dec/conv_pre/Conv").inputs[0]
        drawn = _node(graph, lambda node: node.op_type == "RandomNormalLike" and not _is_duration(node))
        scaled = _node(graph, lambda node: drawn.outputs[0] in node.inputs)
        # The last step before the decoder multiplies the output of the flow by the mask.
        flowed = producers[latent].inputs
        return cls(
            duration_noise=_node(graph, lambda n: n.op_type == "RandomNormalLike" and _is_duration(n)).outputs[0],
            latent_noise=drawn.outputs[0],
            mean=drawn.inputs[0],
            deviation=next(name for name in scaled.inputs if name != drawn.outputs[0]),
            mask=next(name for name in flowed if not producers[name].name.startswith("/flow/")),
            durations=_node(graph, lambda node: node.op_type == "Ceil").outputs[0],
            latent=latent,
        )


def _node(graph: OnnxGraph, fits: Callable[[Node], bool]) -> Node:
    return next(node for node in graph.nodes if fits(node))


def _is_duration(node: Node) -> bool:
    return node.name.startswith("/dp/")
