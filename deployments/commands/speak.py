"""Speaks a text with the configured voice into a WAV file, in a separate process and without a cluster.

    python -m deployments.commands.speak FILE.wav "a text" < PART.json

The part is a `PoolPart` as JSON; `cluster.caller.questions` writes it.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cluster.config.parts import PoolPart
from deployments.shells.opener import EngineOpener
from pipelines.audio.pcm import PCM_24K
from pipelines.audio.wav import write_wav
from pipelines.ports import SpeechRequest


async def speak(part: PoolPart, text: str) -> bytes:
    """Speak `text` with the voice of a pool and return it as a WAV file."""
    chunks = EngineOpener(part)().synthesize(SpeechRequest(text))
    return write_wav(b"".join([chunk.pcm_24k async for chunk in chunks]), PCM_24K.rate_hz)


def main() -> None:
    """Read the part and speak."""
    file, text = Path(sys.argv[1]), sys.argv[2]
    part = PoolPart.model_validate_json(sys.stdin.read())
    file.write_bytes(asyncio.run(speak(part, text)))


if __name__ == "__main__":
    main()
