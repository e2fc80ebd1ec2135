"""A real HTTP server with files, ranges and accidents, for the catalog's tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


@dataclass(slots=True)
class Served:
    """A file of the server.

    Attributes:
        cuts: after how many bytes of the answer the line is cut, for the first request, the second, ...
        stalls_after: sends so many bytes, then nothing, and keeps the line open until the server stops.
        statuses: answered instead of the file, for the first request, the second, ...
        has_ranges: whether the server can start in the middle.
        token: needed as bearer; "" for none.
    """

    content: bytes
    cuts: list[int] = field(default_factory=list)
    stalls_after: int | None = None
    statuses: list[int] = field(default_factory=list)
    has_ranges: bool = True
    token: str = ""
    content_type: str = "application/octet-stream"


@dataclass(slots=True)
class FileServer:
    """Files by path, and what was asked for: (path, Range header or "")."""

    url: str
    files: dict[str, Served]
    requests: list[tuple[str, str]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)
    has_stalled: threading.Event = field(default_factory=threading.Event)

    def ranges_of(self, path: str) -> list[str]:
        return [wanted for asked, wanted in self.requests if asked == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: ClassVar[FileServer]

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        wanted = self.headers.get("Range", "")
        self.owner.requests.append((path, wanted))
        served = self.owner.files.get(path)
        if served is None:
            self._refuse(404)
        elif served.token and self.headers.get("Authorization") != f"Bearer {served.token}":
            self._refuse(401)
        elif served.statuses:
            self._refuse(served.statuses.pop(0))
        else:
            self._send(served, wanted)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, served: Served, wanted: str) -> None:
        total, start = len(served.content), 0
        if wanted and served.has_ranges:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= total:
                self._refuse(416)
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        self.send_header("Content-Type", served.content_type)
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        body = served.content[start:]
        if served.cuts:
            body = body[: served.cuts.pop(0)]
            self.close_connection = True
        if served.stalls_after is not None:
            body = body[: served.stalls_after]
        self.wfile.write(body)
        self.wfile.flush()
        if served.stalls_after is not None:
            self.owner.has_stalled.set()
            self.owner.stopped.wait()


@contextmanager
def running_server() -> Iterator[FileServer]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    owner = FileServer(f"http://127.0.0.1:{server.server_port}", {})
    handler.owner = owner  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield owner
    finally:
        owner.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()
