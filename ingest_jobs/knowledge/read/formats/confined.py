"""Parses PDF and DOCX in a separate process with limits on time and memory.

Both formats resemble programs: a small file can keep a parser busy for hours or make it request all memory. The process
knows nothing worth stealing (no environment variables but the path to the code, and no connections), serves one
document after the other, and is killed at the first one that exceeds a limit.

    job ── header, document ──> this module as a process ── blocks, or why it cannot be read ──> job

A message is a line of JSON. The document's bytes follow the header, which gives their number.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from ingest_jobs.knowledge.read.dataset import Limits
from ingest_jobs.knowledge.read.documents import Unreadable
from ingest_jobs.knowledge.read.formats.office import docx_blocks, pdf_blocks
from ingest_jobs.knowledge.read.formats.prose import Block

_PARSERS: dict[str, Callable[[BinaryIO, Limits], Iterator[Block]]] = {".pdf": pdf_blocks, ".docx": docx_blocks}
SUFFIXES = frozenset(_PARSERS)
_XML_NO_MEMORY = 2  # lxml.etree.ErrorTypes.ERR_NO_MEMORY
_ROOT = Path(__file__).resolve().parents[4]


class Parser:
    """The parser process, started at the first document and after each one that killed it. One document at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def blocks(self, suffix: str, stream: BinaryIO, limits: Limits) -> list[Block]:
        """Return the blocks of a document.

        Raises:
            Unreadable: the document is broken or too large, or its parser exceeded a limit and was ended.
        """
        data = stream.read(limits.max_file_bytes + 1)
        if len(data) > limits.max_file_bytes:
            raise Unreadable(f"larger than {limits.max_file_bytes} bytes")
        header = {"suffix": suffix, "bytes": len(data), "limits": limits.model_dump()}
        with self._lock:
            answer = self._answer(json.dumps(header).encode() + b"\n" + data, limits)
        if "reason" in answer:
            raise Unreadable(str(answer["reason"]))
        return [(kind, text) for kind, text in answer["blocks"]]

    def close(self) -> None:
        """End the process. Does nothing when there is none."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    pipe.close()  # type: ignore[union-attr]  # both are pipes
            process.wait()

    def _answer(self, message: bytes, limits: Limits) -> dict[str, Any]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        is_late = threading.Event()

        def end() -> None:
            is_late.set()
            process.kill()

        timer = threading.Timer(limits.max_parse_s, end)
        timer.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(message)
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            if not answer.get("is_spent"):
                return answer
        self.close()
        if line.endswith(b"\n"):
            return answer
        how = f"took longer than {limits.max_parse_s:g} s" if is_late.is_set() else "ended its parser"
        return {"reason": how}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            command = [sys.executable, "-m", __name__]
            environment = {"PYTHONPATH": str(_ROOT), "PATH": os.defpath, "LANG": "C.UTF-8"}
            self._process = subprocess.Popen(
                command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        return self._process


_parser = Parser()
atexit.register(_parser.close)


def confined_blocks(suffix: str, stream: BinaryIO, limits: Limits) -> list[Block]:
    """Return the blocks of a PDF or DOCX, parsed by this process's `Parser`.

    Raises: as `Parser.blocks`.
    """
    return _parser.blocks(suffix, stream, limits)


def answer_to(header: dict[str, Any], data: bytes) -> dict[str, Any]:
    """Parse one document here, and return its blocks or why it cannot be read.

    `is_spent` means the process must end.
    """
    limits = Limits.model_validate(header["limits"])
    _limit_memory(limits.max_parse_bytes)
    try:
        return {"blocks": list(_PARSERS[header["suffix"]](io.BytesIO(data), limits))}
    except Unreadable as reason:
        if not _is_of_memory(reason.__cause__):
            return {"reason": str(reason)}
    except MemoryError:
        pass
    return {"reason": f"needs more than {limits.max_parse_bytes} bytes of memory", "is_spent": True}


def _is_of_memory(error: BaseException | None) -> bool:
    # libxml2 reports a failed allocation as a mistake in the document.
    return isinstance(error, MemoryError) or getattr(error, "code", None) == _XML_NO_MEMORY


def _limit_memory(more_bytes: int) -> None:
    """Allow the process this much more memory than it has now.

    The limit is on address space, because Linux enforces no finer one.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except OSError:
        return  # without Linux only the time limit applies
    now_bytes = pages * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now_bytes + more_bytes, hard))


def main() -> None:
    """Answer document after document until stdin ends."""
    # Output of libraries must not get between the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while line := sys.stdin.buffer.readline():
        header = json.loads(line)
        answer = answer_to(header, sys.stdin.buffer.read(header["bytes"]))
        out.write(json.dumps(answer).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
