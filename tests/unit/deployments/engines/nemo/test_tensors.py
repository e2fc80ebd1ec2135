"""Decoding and remembering of streams on small tensors: a language model's beam, boosted phrases, pasts of slots."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deployments.engines.nemo.beam import BeamCtcDecoder  # noqa: E402
from deployments.engines.nemo.boosting import NO_PHRASES, boosted_labels, number_of  # noqa: E402
from deployments.engines.nemo.memory import EncoderNext, StreamMemory  # noqa: E402
from deployments.engines.nemo.prefix_beam import BeamHabits, PrefixBeam  # noqa: E402

pytestmark = pytest.mark.unit
A, B, BLANK = 0, 1, 2


class Flat:
    """A language in which every piece is as likely as the other."""

    def begin(self) -> int:
        return 0

    def after(self, state: Any) -> tuple[Any, Any]:
        return np.zeros(2, np.float32), [state, state]


class Head:
    """Gives out the encoder's output as log probabilities, [streams, frames, classes]."""

    vocabulary = ("a", "b")

    def __call__(self, encoder_output: Any) -> Any:
        return encoder_output


def frames(*classes: int) -> Any:
    """Return frames in which one class is all but certain."""
    rows = torch.full((len(classes), 3), -20.0)
    for row, each in enumerate(classes):
        rows[row, each] = -0.001
    return rows


def said(decoded: Any) -> list[int]:
    return [token.piece for token in [*decoded.tokens, *decoded.open]]


def decoder() -> BeamCtcDecoder:
    beam = PrefixBeam(Flat(), BLANK, BeamHabits(piece_bonus=0.0))
    return BeamCtcDecoder(SimpleNamespace(ctc_decoder=Head()), {NO_PHRASES: beam})


def test_beam_decodes_each_stream_by_itself_and_only_the_frames_that_count() -> None:
    beams = decoder()
    encoded = torch.stack([frames(A, BLANK, A, B), frames(BLANK, B, B, B)])
    first, second = beams.decode(encoded, [4, 2], [beams.begin(NO_PHRASES), beams.begin(NO_PHRASES)])
    assert said(first) == [A, A, B]
    assert said(second) == [B]


def test_beam_goes_on_from_a_state_and_leaves_it_as_it_was() -> None:
    beams = decoder()
    begun = beams.begin(NO_PHRASES)
    (step,) = beams.decode(frames(A, A)[None], [2], [begun])
    (repeated,) = beams.decode(frames(A, B)[None], [2], [step.state])
    assert [*(token.piece for token in step.tokens), *said(repeated)] == [A, B]
    (fresh,) = beams.decode(frames(B)[None], [1], [begun])
    assert said(fresh) == [B]


def test_beam_of_unknown_phrases_is_an_error() -> None:
    with pytest.raises(KeyError):
        decoder().begin(5)


class Trees:
    """Adds `bonus` to the piece "b" in every state; walking on a piece counts the state up."""

    def __init__(self, bonus: float) -> None:
        self.bonus = bonus

    def advance(self, states: Any, model_ids: Any) -> tuple[Any, Any]:
        scores = torch.zeros((len(model_ids), 2))
        scores[:, B] = self.bonus
        return scores, (states + 1)[:, None].expand(-1, 2)


def boosted(rows: Any, bonus: float, number: int, last: int = BLANK) -> tuple[list[int], list[int]]:
    labels, states = boosted_labels(
        rows[None], torch.tensor([last]), torch.tensor([0]), torch.tensor([number]), Trees(bonus)
    )
    return labels[0].tolist(), states.tolist()


def test_preferred_piece_wins_when_its_bonus_is_large_enough_and_only_for_who_has_a_tree() -> None:
    rows = torch.tensor([[-0.5, -1.0, -9.0]])
    assert boosted(rows, 1.0, 0) == ([B], [1])
    assert boosted(rows, 0.1, 0) == ([A], [1])
    assert boosted(rows, 1.0, NO_PHRASES) == ([A], [0])


def test_silence_and_repetition_are_left_to_the_model() -> None:
    assert boosted(frames(BLANK), 50.0, 0) == ([BLANK], [0])
    assert boosted(frames(A), 50.0, 0, last=A) == ([A], [0])


def test_tenant_without_phrases_has_those_of_all_or_none() -> None:
    assert number_of("acme", {"acme": 3, "": 1}) == 3
    assert number_of("other", {"acme": 3, "": 1}) == 1
    assert number_of("other", {"acme": 3}) == NO_PHRASES


LEFT, LAYERS, WIDTH, KERNEL = 4, 2, 3, 2


class Encoder:
    d_model = WIDTH
    layers = (None,) * LAYERS
    streaming_cfg = SimpleNamespace(last_channel_cache_size=LEFT)

    def get_initial_cache_state(self, batch_size: int, dtype: Any, device: Any) -> tuple[Any, Any, Any]:
        return None, torch.zeros((LAYERS, batch_size, WIDTH, KERNEL), dtype=dtype, device=device), None


def memory() -> StreamMemory:
    return StreamMemory(Encoder(), 3, torch.zeros((5, 2)), torch.float32)


def step(*values: float, new_frames: int = 2) -> EncoderNext:
    """Return what is to be remembered of one step: all numbers of stream i are `values[i]`."""
    filled = torch.tensor(values)
    return EncoderNext(
        channel=filled[None, :, None, None].expand(LAYERS, -1, new_frames, 2 * WIDTH).clone(),
        time=filled[None, :, None, None].expand(LAYERS, -1, WIDTH, KERNEL).clone(),
        features=filled[:, None, None].expand(-1, 5, 2).clone(),
    )


def window(found: Any, stream: int = 0) -> list[float]:
    """Return the first number of each remembered frame, without the room for new ones."""
    values: list[float] = found.channel[0, stream, :LEFT, 0].tolist()
    return values


def test_past_of_a_slot_is_the_newest_frames_and_no_other_slots() -> None:
    kept = memory()
    kept.put([0, 2], step(1.0, 7.0))
    kept.put([0], step(2.0))
    kept.put([0], step(3.0))
    past = kept.take([2, 0], 2)
    assert past.channel.shape == (LAYERS, 2, LEFT + 2, 2 * WIDTH)
    assert window(past, 0) == [0.0, 0.0, 7.0, 7.0]
    assert window(past, 1) == [2.0, 2.0, 3.0, 3.0]
    assert past.length.tolist() == [2, 4]
    assert past.time[0, :, 0, 0].tolist() == [7.0, 3.0]
    assert past.features[:, 0, 0].tolist() == [7.0, 3.0]


def test_window_survives_the_end_of_its_room() -> None:
    kept = memory()
    for number in range(1, 60):
        kept.put([1], step(float(number)))
        past = kept.take([1], 2)
        newest = [float(max(number - 1, 0))] * 2 + [float(number)] * 2
        assert window(past) == newest, number
    assert window(kept.take([0], 2)) == [0.0] * LEFT


def test_cleared_slot_has_heard_nothing_and_others_keep_theirs() -> None:
    kept = memory()
    kept.put([0, 1], step(1.0, 2.0))
    kept.clear(0)
    past = kept.take([0, 1], 2)
    assert past.length.tolist() == [0, 2]
    assert window(past, 0) == [0.0] * LEFT
    assert window(past, 1) == [0.0, 0.0, 2.0, 2.0]
    assert past.time[:, 0].abs().sum() == 0
