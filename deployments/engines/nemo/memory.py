"""Stores what a streaming encoder remembers of each stream between chunks, in one set of tensors for all slots.

NeMo's attention keeps its *inputs* for the last `left` frames and recomputes the keys and values of all of them at
every chunk. With chunks of 2 frames and a left context of 70 that is 36 times the work. `KeptKeyAttention` keeps the
keys and values instead, and is otherwise NeMo's attention with NeMo's weights.

Each slot has room for more than `left` frames, and a window moves along in it. Storing a chunk therefore writes only
its few frames, and the window is copied back to the beginning only when the room is used up:

    room     ┌ · · ·[── left ──]+ new · · · · · ┐          [── left ──]+ new ┐  full: copied to the beginning
                    └ start                                └ start
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_ROOM_FRAMES = 32


class KeptKeyAttention(torch.nn.Module):
    """NeMo's attention with relative positions, over keys and values that were computed when their frames arrived.

    The cache passed in holds keys followed by values and has room for the new frames at its end: [streams, left + new,
    2 x width]. The new keys and values are written there, and only they are returned.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.attention = attention
        parts = (attention.linear_q, attention.linear_k, attention.linear_v)
        width = parts[0].in_features
        has_bias = parts[0].bias is not None
        self._project = torch.nn.Linear(width, 3 * width, bias=has_bias)
        with torch.no_grad():
            self._project.weight.copy_(torch.cat([part.weight for part in parts]))
            if has_bias:
                self._project.bias.copy_(torch.cat([part.bias for part in parts]))
        self._positions: dict[int, Any] = {}

    def forward(self, query: Any, key: Any, value: Any, mask: Any, *, pos_emb: Any, cache: Any = None) -> Any:
        attention = self.attention
        if cache is None:
            return attention(query=query, key=key, value=value, mask=mask, pos_emb=pos_emb)
        streams, new_frames, width = query.shape
        projected = self._project(query)
        new = projected[..., width:]
        cache[:, -new_frames:] = new
        heads = (attention.h, attention.d_k)
        keys, values = cache.view(streams, -1, 2, *heads).permute(2, 0, 3, 1, 4)
        queries = projected[..., :width].view(streams, new_frames, *heads)
        by_content = torch.matmul((queries + attention.pos_bias_u).transpose(1, 2), keys.transpose(-2, -1))
        by_place = attention.rel_shift(self._by_place(queries + attention.pos_bias_v, pos_emb))
        by_place = by_place[..., : by_content.shape[-1]]
        return attention.forward_attention(values, (by_content + by_place) / attention.s_d_k, mask), new

    def _by_place(self, queries: Any, pos_emb: Any) -> Any:
        """Return the scores of all positions, [streams, heads, new, positions].

        Positions are the same for all streams, so one product per head serves all of them.
        """
        streams, new_frames, heads, size = queries.shape
        flat = queries.permute(2, 0, 1, 3).reshape(heads, streams * new_frames, size)
        scores = torch.bmm(flat, self._placed(pos_emb)).view(heads, streams, new_frames, -1)
        return scores.transpose(0, 1)

    def _placed(self, pos_emb: Any) -> Any:
        """Return the projected positions, [heads, width of a head, positions]; the same for every step of one size."""
        size = pos_emb.shape[1]
        if size not in self._positions:
            placed = self.attention.linear_pos(pos_emb).view(size, self.attention.h, self.attention.d_k)
            self._positions[size] = placed.permute(1, 2, 0).contiguous()
        return self._positions[size]


def keep_keys(encoder: Any) -> None:
    """Make the attention of every layer keep its keys and values. The encoder must already be on its device."""
    for layer in encoder.layers:
        attention = layer.self_attn
        kept = KeptKeyAttention(attention).to(attention.linear_q.weight.device, attention.linear_q.weight.dtype)
        layer.self_attn = kept.eval()


@dataclass(frozen=True, slots=True)
class EncoderPast:
    """What the encoder remembers of some streams at the start of a step, in the shapes it expects.

    Attributes:
        channel: keys and values, [layers, streams, left + new, 2 x width]; the encoder fills in the new frames.
        time: inputs of the convolutions, [layers, streams, width, kernel - 1].
        length: how many of the `left` frames are filled, [streams].
        features: newest feature frames, [streams, mels, frames].
    """

    channel: Any
    time: Any
    length: Any
    features: Any


@dataclass(frozen=True, slots=True)
class EncoderNext:
    """What to remember of a step.

    Attributes:
        channel: keys and values of the new frames, [layers, streams, new, 2 x width].
        time: inputs of the convolutions, [layers, streams, width, kernel - 1].
        features: newest feature frames, [streams, mels, frames].
    """

    channel: Any
    time: Any
    features: Any


class StreamMemory:
    """What is remembered of all slots. Used by one thread, in inference mode.

    Args:
        encoder: the model's encoder, which determines the sizes.
        slots: number of streams.
        features: an empty tensor of one stream's kept feature frames, [mels, frames].
    """

    def __init__(self, encoder: Any, slots: int, features: Any, dtype: Any) -> None:
        device = features.device
        _, time, _ = encoder.get_initial_cache_state(batch_size=slots, dtype=dtype, device=device)
        self._left = int(encoder.streaming_cfg.last_channel_cache_size)
        self._layers, self._width = len(encoder.layers), int(encoder.d_model)
        self._room = self._left + _ROOM_FRAMES
        frame = self._layers * 2 * self._width
        self._channel = torch.zeros((slots * self._room, frame), dtype=dtype, device=device)
        self._time = time.transpose(0, 1).contiguous()
        self._features = features.new_zeros((slots, *features.shape))
        self._starts = [0] * slots
        self._lengths = [0] * slots

    def clear(self, slot: int) -> None:
        """Forget a stream."""
        self._channel[slot * self._room : (slot + 1) * self._room] = 0
        self._time[slot] = 0
        self._features[slot] = 0
        self._starts[slot] = self._lengths[slot] = 0

    def take(self, slots: Sequence[int], new_frames: int) -> EncoderPast:
        """Return what is remembered of `slots`, with room for `new_frames` in the attention's part."""
        device, span = self._channel.device, self._left + new_frames
        starts = torch.tensor([slot * self._room + self._starts[slot] for slot in slots], device=device)
        # A window may reach into the next slot's room. What is read there is overwritten by the step.
        places = (starts[:, None] + torch.arange(span, device=device)).clamp_(max=self._channel.shape[0] - 1)
        channel = self._channel.index_select(0, places.view(-1)).view(len(slots), span, self._layers, -1)
        index = torch.tensor(slots, device=device)
        return EncoderPast(
            channel.permute(2, 0, 1, 3),
            self._time.index_select(0, index).transpose(0, 1),
            torch.tensor([self._lengths[slot] for slot in slots], device=device),
            self._features.index_select(0, index),
        )

    def put(self, slots: Sequence[int], after: EncoderNext) -> None:
        """Remember a step of `slots`."""
        device, new_frames = self._channel.device, after.channel.shape[2]
        ends = torch.tensor([self._end(slot, new_frames) for slot in slots], device=device)
        places = ends[:, None] + torch.arange(new_frames, device=device)
        rows = after.channel.permute(1, 2, 0, 3).reshape(-1, self._channel.shape[1])
        self._channel.index_copy_(0, places.view(-1), rows)
        index = torch.tensor(slots, device=device)
        self._time.index_copy_(0, index, after.time.transpose(0, 1).contiguous())
        self._features.index_copy_(0, index, after.features)
        for slot in slots:
            self._starts[slot] += new_frames
            self._lengths[slot] = min(self._left, self._lengths[slot] + new_frames)

    def _end(self, slot: int, new_frames: int) -> int:
        """Return the row for the frames after a slot's window, making room if there is none."""
        if self._starts[slot] + self._left + new_frames > self._room:
            first = slot * self._room
            window = self._channel[first + self._starts[slot] : first + self._starts[slot] + self._left].clone()
            self._channel[first : first + self._left] = window
            self._starts[slot] = 0
        return slot * self._room + self._starts[slot] + self._left
