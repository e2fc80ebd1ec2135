"""Recognisers as processes of their own, to be killed: one process imports everything and forks each of them.

Run as `python -m tests.contract.stage_link.recognizer_processes [CHECKPOINT]`: each "fork" on stdin gives an address as
JSON on stdout. With a checkpoint it is NeMo that recognises, else the scripted recogniser.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from deployments.engines.scripted.streaming import ScriptedStepper
from deployments.engines.streaming.loop import StreamLoop
from deployments.stage_link.frames import LinkAddress
from deployments.stage_link.listener import LinkListener
from pipelines.hearing.link import StreamingRecognizer

_ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class RecognizerProcess:
    pid: int
    address: LinkAddress

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class RecognizerForge:
    """Forks recognisers; ends all of them at the end. `checkpoint`: a `.nemo` file; None: they are scripted."""

    def __init__(self, checkpoint: Path | None = None) -> None:
        self._arguments = [str(checkpoint)] if checkpoint else []

    def __enter__(self) -> RecognizerForge:
        command = [sys.executable, "-m", "tests.contract.stage_link.recognizer_processes", *self._arguments]
        self._process = subprocess.Popen(
            command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def fork(self) -> RecognizerProcess:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("fork\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        address = LinkAddress(f"replica-{told['pid']}", "127.0.0.1", told["port"], bytes.fromhex(told["key"]))
        return RecognizerProcess(told["pid"], address)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def main() -> None:
    """Fork on demand until the end of the input."""
    make = maker(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if os.fork() == 0:
            serve(make())


def maker(checkpoint: Path | None) -> Callable[[], StreamingRecognizer]:
    """Return what makes a recogniser, as a replica would; its libraries are imported here, once for all forks."""
    if checkpoint is None:
        return lambda: StreamLoop(ScriptedStepper)
    import nemo.collections.asr.models  # noqa: F401

    from deployments.engines.nemo import NemoSettings
    from deployments.engines.nemo.recognizer import open_nemo_recognizer

    settings = NemoSettings(device="cpu", max_streams=8)
    return lambda: open_nemo_recognizer(checkpoint, settings)


def serve(recognizer: StreamingRecognizer) -> None:
    """Serve a recogniser until killed."""
    listener = LinkListener(recognizer, name=f"replica-{os.getpid()}")
    address = listener.start()
    sys.stdout.write(json.dumps({"pid": os.getpid(), "port": address.port, "key": address.key.hex()}) + "\n")
    sys.stdout.flush()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
