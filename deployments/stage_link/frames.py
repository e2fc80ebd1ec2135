"""Frames of a link (four bytes of length, then the payload), and the handshake that authenticates both ends.

    gateway     b"voxray-link-1" + nonce ───────────────────────────────►
                ◄─────────────── nonce + HMAC(key, "recogniser" + both)     recogniser
                HMAC(key, "gateway" + both) ────────────────────────────►
                ◄──────────────────────────────────────────── load, results

The key never crosses the link, and a recorded handshake cannot be replayed. What follows is not encrypted: see
docs/speech-recognition.md, "Stage link", for where a link may run.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field

from pipelines.errors import VoxrayError

GREETING = b"voxray-link-1"
HANDSHAKE_S = 5.0
# A whole utterance may have to be resent at once. It is divided between frames by pieces (`MAX_COMMANDS_BYTES`).
MAX_FRAME_BYTES = 4 * 1024 * 1024
MAX_HANDSHAKE_BYTES = 128
# Buffer of a reader before it pauses the socket. asyncio's default is less than a tick of a hundred calls.
READ_AHEAD_BYTES = 1024 * 1024
_LENGTH_BYTES = 4
_NONCE_BYTES = 16


class LinkError(VoxrayError):
    """The other end violated the protocol or failed to authenticate. Only this link is closed."""


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """The address of a recogniser, and the key it requires. `name` is the replica's name.

    The recogniser generates the key at its start and reveals it only through a Serve handle.
    """

    name: str
    host: str
    port: int
    key: bytes = field(repr=False)


def frame(payload: bytes) -> bytes:
    """Return a payload preceded by its length."""
    return len(payload).to_bytes(_LENGTH_BYTES, "big") + payload


async def read_frame(reader: asyncio.StreamReader, max_bytes: int = MAX_FRAME_BYTES) -> bytes:
    """Return the next payload.

    Raises:
        LinkError: the payload claims to be longer than `max_bytes`.
        asyncio.IncompleteReadError: the link ended.
        OSError: the link broke.
    """
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if length > max_bytes:
        raise LinkError(f"a frame of {length} bytes; at most {max_bytes}")
    return await reader.readexactly(length)


async def prove_as_gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> None:
    """Prove to a recogniser that this gateway knows its key, and verify that the recogniser knows it too.

    Raises:
        LinkError: it does not know the key, or speaks something else.
        TimeoutError: it says nothing.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    writer.write(frame(GREETING + nonce))
    async with asyncio.timeout(HANDSHAKE_S):
        answer = await read_frame(reader, MAX_HANDSHAKE_BYTES)
        theirs, proof = answer[:_NONCE_BYTES], answer[_NONCE_BYTES:]
        if not hmac.compare_digest(proof, _proof(key, b"recogniser", nonce + theirs)):
            raise LinkError("the recogniser does not know the key")
        writer.write(frame(_proof(key, b"gateway", nonce + theirs)))
        await writer.drain()


async def check_gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: bytes) -> None:
    """Verify that a gateway knows this recogniser's key, and prove the same in return.

    Raises:
        LinkError: it does not know the key, or speaks something else.
        TimeoutError: it says nothing.
    """
    async with asyncio.timeout(HANDSHAKE_S):
        greeting = await read_frame(reader, MAX_HANDSHAKE_BYTES)
        theirs = greeting.removeprefix(GREETING)
        if len(theirs) != _NONCE_BYTES or not greeting.startswith(GREETING):
            raise LinkError("the peer did not send the greeting of a gateway of this version")
        nonce = secrets.token_bytes(_NONCE_BYTES)
        writer.write(frame(nonce + _proof(key, b"recogniser", theirs + nonce)))
        proof = await read_frame(reader, MAX_HANDSHAKE_BYTES)
        if not hmac.compare_digest(proof, _proof(key, b"gateway", theirs + nonce)):
            raise LinkError("the gateway does not know the key")


def _proof(key: bytes, who: bytes, nonces: bytes) -> bytes:
    return hmac.digest(key, who + nonces, "sha256")
