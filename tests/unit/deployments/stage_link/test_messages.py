from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.stage_link.frames import LinkAddress, LinkError
from deployments.stage_link.messages import (
    LinkLoad,
    pack_commands,
    pack_load,
    pack_results,
    unpack_answer,
    unpack_commands,
)
from pipelines.hearing.link import (
    CloseStream,
    FinishUtterance,
    HeardWord,
    OpenStream,
    PushAudio,
    PushMany,
    StreamFailed,
    StreamHeard,
    StreamRefused,
)

pytestmark = pytest.mark.unit

NUMBERS = st.integers(0, 2**62)
COMMANDS = st.lists(
    st.one_of(
        st.builds(OpenStream, NUMBERS, st.text()),
        st.builds(PushAudio, NUMBERS, st.binary()),
        st.lists(st.tuples(NUMBERS, st.binary())).map(
            lambda pushes: PushMany([stream for stream, _ in pushes], [piece for _, piece in pushes])
        ),
        st.builds(FinishUtterance, NUMBERS, NUMBERS),
        st.builds(CloseStream, NUMBERS),
    )
)
WORDS = st.builds(HeardWord, st.text(), NUMBERS, NUMBERS, st.floats(0, 1))
RESULTS = st.lists(
    st.one_of(
        st.builds(
            StreamHeard, NUMBERS, st.text(), NUMBERS, NUMBERS, st.none() | NUMBERS, st.booleans(),
            st.lists(WORDS, max_size=3).map(tuple),
        ),
        st.builds(StreamRefused, NUMBERS, st.text()),
        st.builds(StreamFailed, NUMBERS, st.text(), st.booleans()),
    )
)  # fmt: skip
# What MessagePack can say, which is more than what a link may say.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(commands=COMMANDS)
def test_commands_survive_the_way(commands: list[OpenStream]) -> None:
    assert unpack_commands(pack_commands(commands)) == commands


@given(results=RESULTS)
def test_results_survive_the_way(results: list[StreamRefused]) -> None:
    assert unpack_answer(pack_results(results)) == results


def test_load_survives_the_way() -> None:
    load = LinkLoad(3, 64, accepts_new=False)
    assert unpack_answer(pack_load(load)) == load


@given(payload=st.binary() | ANYTHING.map(msgpack.packb))
def test_anything_else_is_a_link_error(payload: bytes) -> None:
    for unpack in (unpack_commands, unpack_answer):
        try:
            unpack(payload)
        except LinkError:
            continue


@pytest.mark.parametrize(
    "message",
    [
        ("c", [(1, 5, "text")]),
        ("c", [(1, 5)]),
        ("c", [(0, True, "")]),
        ("c", [(4, 5)]),
        ("c", [(4, [5])]),
        ("c", [(4, [5], [b"", b""])]),
        ("c", [(4, [5, 6], [b""])]),
        ("c", [(4, [5, True], [b"", b""])]),
        ("c", [(4, [5, 6.0], [b"", b""])]),
        ("c", [(4, [5, 6], [b"", "text"])]),
        ("c", [(4, 5, [b""])]),
        ("c", [(4, [5], b"1")]),
        ("c", [(4, {5: 1}, [b""])]),
        ("c", [(4, [[5]], [b""])]),
        ("c", [(4, [5], [b""], 1)]),
        ("c", [(5, [5], [b""])]),
        ("c", [(True, 5, b"")]),
        ("c", [(-1, 5)]),
        ("c", [()]),
        ("c", 7),
        ("r", []),
        ("c", [], []),
    ],
)
def test_command_of_a_wrong_shape_is_refused(message: tuple[object, ...]) -> None:
    with pytest.raises(LinkError):
        unpack_commands(bytes(msgpack.packb(message)))


@pytest.mark.parametrize(
    "item",
    [
        (0, 1, "text", 0, 0, -1, False, ("word",)),
        (0, 1, "text", 0, 0, -1, 0, []),
        (0, True, "text", 0, 0, -1, False, []),
        (0, 1, b"text", 0, 0, -1, False, []),
        (0, 1, "text", 0.5, 0, -1, False, []),
        (0, 1, "text", 0, None, -1, False, []),
        (0, 1, "text", 0, 0, -1, False),
        (0, 1, "text", 0, 0, -1, False, [], 1),
        (False, 1, "text", 0, 0, -1, False, []),
        (3, 1, "text", 0, 0, -1, False, []),
    ],
)
def test_hypothesis_of_a_wrong_shape_is_refused(item: tuple[object, ...]) -> None:
    with pytest.raises(LinkError):
        unpack_answer(bytes(msgpack.packb(("r", [item]))))


def test_key_of_an_address_is_not_shown() -> None:
    assert "secret" not in repr(LinkAddress("one", "127.0.0.1", 1, b"secret"))
