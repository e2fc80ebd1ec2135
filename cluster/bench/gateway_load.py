"""Measures how many calls one gateway core holds, with scripted engines and real voice activity detection.

The added latency of a turn runs from the moment the caller's machine has sent the frame from which the gateway could
know that the turn is over (the one that contains `speech_stopped.audio_end_ms`) to the arrival of the answer's first
audio. It excludes the silence that turn detection waits for, but includes the wait for the next voice-activity window
and everything after it.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson
import psutil
from websockets.asyncio.client import connect

from cluster.bench.figures import LoadFigures, spread
from cluster.caller.line import FRAME_MS, LineError
from cluster.caller.recording import Recording
from cluster.programs import Program
from pipelines.audio.pcm import PCM_24K

_FRAME_BYTES = PCM_24K.bytes_of(FRAME_MS)
# Plain server VAD is used because the end of a turn then depends on audio alone, equally for every call.
_SESSION = {
    "type": "session.update",
    "session": {
        "type": "realtime",
        "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 320}}},
    },
}
SILENCE_AFTER_MS = 1_500
WARM_UP_S = 4.0


@dataclass(slots=True)
class _Caller:
    """One call's clock: when each frame was sent, and what was measured."""

    sent_at_s: list[float] = field(default_factory=list)
    awaiting_frame: int | None = None
    added_ms: list[tuple[float, float]] = field(default_factory=list)
    late_frames: int = 0


@contextmanager
def gateway_process(vad_model: str, core: int) -> Iterator[tuple[str, psutil.Process]]:
    """Run a gateway on one core, and yield its socket URL and process."""
    command = Program.LOCAL_GATEWAY.command("--vad-model", vad_model, "--core", str(core))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise LineError("the gateway under test did not start")
            yield f"ws://127.0.0.1:{port}/v1/realtime", psutil.Process(process.pid)
        finally:
            process.terminate()


async def measure_load(
    ws_url: str, process: psutil.Process, recording: Recording, *, calls: int, seconds: float
) -> LoadFigures:
    """Hold `calls` calls for `seconds`, each of which keeps asking."""
    frames = _frames(recording)
    callers = [_Caller() for _ in range(calls)]
    loop = asyncio.get_running_loop()
    begin_s = loop.time() + 1.0 + calls * 0.02
    end_s = begin_s + WARM_UP_S + seconds
    tasks = [
        # Callers' frames are spread over the 20 ms, and each caller is at a different place in the question.
        asyncio.create_task(
            _hold(ws_url, caller, frames, (begin_s + FRAME_MS / 1000 * index / calls, end_s), index * 13 % len(frames))
        )
        for index, caller in enumerate(callers)
    ]
    await asyncio.sleep(begin_s + WARM_UP_S - loop.time())  # noqa: TID251
    before, before_s = process.cpu_times(), loop.time()
    await asyncio.gather(*tasks)
    after, after_s = process.cpu_times(), loop.time()
    busy_s = after.user + after.system - before.user - before.system
    added = [ms for caller in callers for at_s, ms in caller.added_ms if at_s >= begin_s + WARM_UP_S]
    return LoadFigures(
        calls=calls,
        turns=len(added),
        added_latency_ms=spread(added),
        gateway_cpu_share=round(busy_s / (after_s - before_s), 3),
        frames_sent_late=sum(caller.late_frames for caller in callers),
    )


def _frames(recording: Recording) -> list[str]:
    """Return the messages of one round: the question, then silence."""
    pcm = recording.pcm_24k + PCM_24K.silence(SILENCE_AFTER_MS)
    pieces = [pcm[start : start + _FRAME_BYTES] for start in range(0, len(pcm) - _FRAME_BYTES + 1, _FRAME_BYTES)]
    return [f'{{"type":"input_audio_buffer.append","audio":"{base64.b64encode(piece).decode()}"}}' for piece in pieces]


async def _hold(
    ws_url: str, caller: _Caller, frames: Sequence[str], span_s: tuple[float, float], position: int
) -> None:
    """Send a frame every 20 ms within `span_s`, beginning at `position` of the round."""
    loop, (begin_s, end_s) = asyncio.get_running_loop(), span_s
    async with connect(ws_url, compression=None, max_size=2**24) as socket:
        await socket.send(orjson.dumps(_SESSION).decode())
        listening = asyncio.create_task(_listen(socket, caller))
        number = 0
        while (due_s := begin_s + number * FRAME_MS / 1000) < end_s:
            delay_s = due_s - loop.time()
            if delay_s > 0:
                await asyncio.sleep(delay_s)  # noqa: TID251
            caller.late_frames += delay_s < -FRAME_MS / 1000
            caller.sent_at_s.append(loop.time())
            await socket.send(frames[(position + number) % len(frames)])
            number += 1
        listening.cancel()


async def _listen(socket, caller: _Caller) -> None:  # type: ignore[no-untyped-def]  # a websockets connection
    loop = asyncio.get_running_loop()
    async for message in socket:
        # Most messages are not parsed, because the measurement must not be limited by the caller's machine.
        if caller.awaiting_frame is not None and '"response.output_audio.delta"' in message:
            now_s = loop.time()
            caller.added_ms.append((now_s, (now_s - caller.sent_at_s[caller.awaiting_frame]) * 1000))
            caller.awaiting_frame = None
        elif '"input_audio_buffer.speech_stopped"' in message:
            audio_end_ms = orjson.loads(message)["audio_end_ms"]
            caller.awaiting_frame = min(-(-audio_end_ms // FRAME_MS), len(caller.sent_at_s)) - 1
