"""The stage link over real sockets: several gateways, slow and hostile peers, wrong keys, drains."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from deployments.engines.scripted.streaming import ScriptedStepper
from deployments.engines.streaming.loop import LoopLimits, StreamLoop
from deployments.stage_link import dialer, listener
from deployments.stage_link.dialer import hold_link
from deployments.stage_link.frames import (
    MAX_FRAME_BYTES,
    LinkAddress,
    LinkError,
    frame,
    prove_as_gateway,
    read_frame,
)
from deployments.stage_link.listener import LinkListener
from deployments.stage_link.messages import pack_commands, unpack_answer
from pipelines.errors import EngineError
from pipelines.hearing.link import (
    FinishUtterance,
    OpenStream,
    PushAudio,
    PushMany,
    StreamFailed,
    StreamHeard,
    StreamRefused,
    StreamResult,
)
from pipelines.hearing.linked import LinkedTranscriber
from pipelines.hearing.linked_stream import LinkPatience
from tests.contract.stage_link.gateways import gateway, loud_pcm

pytestmark = pytest.mark.contract

SPEECH = loud_pcm(1_000)


class Recognizer:
    """A scripted recogniser that listens."""

    def __init__(self, name: str, slots: int = 64) -> None:
        self.loop = StreamLoop(lambda: ScriptedStepper(slots=slots), LoopLimits(max_streams=slots))
        self.listener = LinkListener(self.loop, name=name)
        self.address = self.listener.start()

    async def until(self, streams: int) -> None:
        while self.listener.load().streams != streams:  # noqa: ASYNC110  the engine's thread gives no event to wait for
            await asyncio.sleep(0.005)  # noqa: TID251  the same

    def close(self) -> None:
        self.listener.close()
        self.loop.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Recognizer]]:
    made: list[Recognizer] = []

    def one(name: str = "one", slots: int = 64) -> Recognizer:
        made.append(Recognizer(name, slots))
        return made[-1]

    yield one
    for recognizer in made:
        recognizer.close()


@pytest.fixture
def recognizer(make: Callable[..., Recognizer]) -> Recognizer:
    return make()


@asynccontextmanager
async def admitted(address: LinkAddress) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A peer that has shown the key, and may now do what it likes."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((address.host, address.port))
    peer.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=peer, limit=4096)
    await prove_as_gateway(reader, writer, address.key)
    yield reader, writer
    writer.transport.abort()


async def until_ended(reader: asyncio.StreamReader) -> None:
    """Read until the other end has closed."""
    with suppress(ConnectionError):
        while await reader.read(65536):
            pass


async def test_two_gateways_share_a_recogniser_and_do_not_hear_each_other(recognizer: Recognizer) -> None:
    async with gateway(recognizer.address) as first, gateway(recognizer.address) as second:
        alone = [(await first.transcriber.recognize(loud_pcm(800, seed))).text for seed in range(6)]
        sides = [first, second, second, first, second, first]
        together = await asyncio.gather(
            *(side.transcriber.recognize(loud_pcm(800, seed)) for seed, side in enumerate(sides))
        )
        assert [heard.text for heard in together] == alone
        assert len(set(alone)) == len(alone)
        await recognizer.until(streams=0)


async def test_recogniser_that_joins_later_gets_new_streams_only(make: Callable[..., Recognizer]) -> None:
    early, late = make("early"), make("late")
    async with gateway(early.address) as side:
        old = side.transcriber.open(lambda _heard: None)
        old.push(SPEECH)
        await early.until(streams=1)
        side.addresses = [early.address, late.address]
        await side.until(lambda transcriber: transcriber.gauges()["replicas"] == 2)
        new = side.transcriber.open(lambda _heard: None)
        new.push(SPEECH)
        assert (await old.finalize()).text == (await new.finalize()).text
        assert (early.listener.load().streams, late.listener.load().streams) == (1, 1)


async def test_streams_of_a_gateway_that_is_gone_are_freed(recognizer: Recognizer) -> None:
    async with gateway(recognizer.address) as side:
        for _ in range(5):
            side.transcriber.open(lambda _heard: None).push(SPEECH)
        await recognizer.until(streams=5)
    await recognizer.until(streams=0)


async def test_full_recogniser_refuses_with_its_reason(make: Callable[..., Recognizer]) -> None:
    small = make("small", slots=1)
    async with gateway(small.address) as side:
        side.transcriber.open(lambda _heard: None).push(SPEECH)
        second = side.transcriber.open(lambda _heard: None)
        second.push(SPEECH)
        with pytest.raises(EngineError, match=r"no replica takes the stream \(small: all 1 streams are taken\)"):
            await second.finalize()


async def test_draining_recogniser_ends_what_it_has_and_takes_nothing_new(make: Callable[..., Recognizer]) -> None:
    leaving, staying = make("leaving"), make("staying")
    async with gateway(leaving.address, staying.address) as side:
        side.transcriber.tell_load("staying", streams=60, slots=64)
        old = side.transcriber.open(lambda _heard: None)
        old.push(SPEECH)
        await leaving.until(streams=1)
        drained = asyncio.create_task(asyncio.to_thread(leaving.listener.drain, 30.0))
        await side.until(lambda transcriber: transcriber.gauges()["replicas"] == 1)
        new = side.transcriber.open(lambda _heard: None)
        new.push(SPEECH)
        assert (await old.finalize()).text == (await new.finalize()).text
        assert not drained.done()
        await old.aclose()
        await drained
        assert (leaving.listener.load().streams, staying.listener.load().streams) == (0, 1)
    assert side.transcriber.counts.moved == 0


async def test_draining_recogniser_refuses_whole_ticks_of_new_streams(make: Callable[..., Recognizer]) -> None:
    leaving = make("leaving")
    async with admitted(leaving.address) as (reader, writer):
        writer.write(frame(pack_commands([OpenStream(1)])))
        await leaving.until(streams=1)
        leaving.listener.accepts_new = False
        opened = [OpenStream(2), OpenStream(3), PushMany([2, 1, 3], [SPEECH] * 3), FinishUtterance(1, 1)]
        writer.write(frame(pack_commands(opened)))
        told: list[StreamResult] = []
        while not any(isinstance(one, StreamHeard) and one.finish for one in told):
            said = unpack_answer(await read_frame(reader))
            told += said if isinstance(said, list) else []
        assert [one.stream for one in told if isinstance(one, StreamRefused)] == [2, 3]
        assert {one.stream for one in told if isinstance(one, StreamHeard)} == {1}
        assert not any(isinstance(one, StreamFailed) for one in told)


async def test_drain_ends_in_time_whatever_callers_do_and_they_go_elsewhere(make: Callable[..., Recognizer]) -> None:
    leaving, staying = make("leaving"), make("staying")
    async with gateway(leaving.address, staying.address) as side:
        side.transcriber.tell_load("staying", streams=60, slots=64)
        stream = side.transcriber.open(lambda _heard: None)
        stream.push(SPEECH)
        await leaving.until(streams=1)
        await asyncio.to_thread(leaving.listener.drain, 0.05)
        await asyncio.to_thread(leaving.close)
        assert (await stream.finalize()).text == (await side.transcriber.recognize(SPEECH)).text
        assert side.transcriber.counts.moved == 1


async def test_gateway_with_a_wrong_key_is_refused_and_nobody_else_notices(recognizer: Recognizer) -> None:
    async with gateway(recognizer.address) as side:
        with pytest.raises(LinkError, match="does not know the key"):
            await hold_link(replace(recognizer.address, key=b"x" * 32), LinkedTranscriber(LinkPatience()))
        assert (await side.transcriber.recognize(SPEECH)).text


async def test_recogniser_with_a_wrong_key_gets_no_audio() -> None:
    received = bytearray()
    has_ended = asyncio.Event()

    async def impostor(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(1000))
        writer.write(frame(bytes(48)))
        with suppress(ConnectionError):
            received.extend(await reader.read())
        writer.close()
        has_ended.set()

    server = await asyncio.start_server(impostor, "127.0.0.1", 0)
    address = LinkAddress("impostor", "127.0.0.1", server.sockets[0].getsockname()[1], b"k" * 32)
    with pytest.raises(LinkError, match="does not know the key"):
        await hold_link(address, LinkedTranscriber(LinkPatience()))
    await has_ended.wait()
    server.close()
    await server.wait_closed()
    assert len(received) < 64  # the greeting, and no more


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, frame(b"hello"), frame(b"voxray-link-1" + bytes(16)) + frame(b"no")],
    ids=["http", "length", "greeting", "proof"],
)
async def test_garbage_before_the_key_ends_that_connection_only(recognizer: Recognizer, garbage: bytes) -> None:
    async with gateway(recognizer.address) as side:
        reader, writer = await asyncio.open_connection(recognizer.address.host, recognizer.address.port)
        writer.write(garbage)
        await until_ended(reader)
        writer.close()
        assert (await side.transcriber.recognize(SPEECH)).text
        assert side.transcriber.counts.lost_replicas == 0


@pytest.mark.parametrize(
    "garbage",
    [
        frame(b""),
        frame(b"\xc1"),
        frame(b"\x93\x01\x02\x03"),
        frame(pack_commands([OpenStream(1)])[:-3]),
        (MAX_FRAME_BYTES + 1).to_bytes(4, "big"),
    ],
    ids=["empty", "no messagepack", "other", "cut off", "too long"],
)
async def test_garbage_after_the_key_ends_that_link_and_frees_its_streams(
    recognizer: Recognizer, garbage: bytes
) -> None:
    async with gateway(recognizer.address) as side, admitted(recognizer.address) as (reader, writer):
        writer.write(frame(pack_commands([OpenStream(1), PushAudio(1, SPEECH)])))
        await recognizer.until(streams=1)
        writer.write(garbage)
        await until_ended(reader)
        await recognizer.until(streams=0)
        assert (await side.transcriber.recognize(SPEECH)).text
        assert side.transcriber.counts.lost_replicas == 0


async def test_commands_for_unknown_streams_and_streams_opened_twice_harm_nobody(recognizer: Recognizer) -> None:
    async with gateway(recognizer.address) as side, admitted(recognizer.address) as (_reader, writer):
        writer.write(frame(pack_commands([PushAudio(9, SPEECH), OpenStream(1), OpenStream(1), PushAudio(1, b"odd")])))
        assert (await side.transcriber.recognize(SPEECH)).text
        recognizer.loop.check_health()


async def test_peer_that_does_not_read_is_let_go_and_others_are_served(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_UNREAD_BYTES", 64 * 1024)
    minute = loud_pcm(30_000)
    async with gateway(recognizer.address) as side, admitted(recognizer.address) as (_reader, writer):
        for stream in range(1, 33):
            writer.write(frame(pack_commands([OpenStream(stream), PushAudio(stream, minute)])))
        # It may be let go before its last stream is open: what is waited for stays so.
        while not recognizer.loop.stats()["opened"]:  # noqa: ASYNC110  the engine's thread gives no event to wait for
            await asyncio.sleep(0.005)  # noqa: TID251  the same
        assert (await side.transcriber.recognize(SPEECH)).text
        await recognizer.until(streams=0)
        assert (await side.transcriber.recognize(SPEECH)).text


async def test_recogniser_that_falls_silent_is_taken_for_lost(
    recognizer: Recognizer, make: Callable[..., Recognizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialer, "SILENCE_S", 0.2)
    monkeypatch.setattr(listener, "LOAD_S", 0.05)
    async with gateway(recognizer.address) as side:
        stream = side.transcriber.open(lambda _heard: None)
        stream.push(SPEECH)
        await recognizer.until(streams=1)
        monkeypatch.setattr(listener, "LOAD_S", 60.0)  # no sign of life any more
        side.addresses = []
        await side.until(lambda transcriber: transcriber.counts.lost_replicas == 1)
        monkeypatch.setattr(listener, "LOAD_S", 0.05)
        side.addresses = [make("other").address]
        assert (await stream.finalize()).text
        assert side.transcriber.counts.moved == 1
