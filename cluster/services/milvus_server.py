"""Runs milvus-lite as a server process, so that several clients can share it.

`python -m cluster.services.milvus_server` is that process. It is milvus-lite's own server, but it ends cleanly on
SIGTERM (the original handles only SIGINT), so that it writes its segments and the next start finds them flushed.

After every start all collections, aliases included, are in the state "released" and refuse searches until they are
loaded. The supervisor loads them before the service counts as started.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence

import grpc

from cluster.programs import Program
from cluster.services import milvus_lite_reads
from cluster.services.folder import StateFolder
from cluster.services.milvus_grpc import GRPC_OPTIONS
from cluster.services.ports import LOOPBACK, is_port_open
from cluster.services.spec import ServiceSpec

_LIST_COLLECTIONS = "/milvus.proto.milvus.MilvusService/ShowCollections"


def is_milvus_ready(port: int, host: str = LOOPBACK) -> bool:
    """Return whether a Milvus lists its collections.

    It sends an empty gRPC request instead of using pymilvus, which takes a second to import and prints a page of
    traceback for each refused connection.
    """
    if not is_port_open(port, host):
        return False
    with grpc.insecure_channel(f"{host}:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(_LIST_COLLECTIONS)(b"", timeout=1.0)
        except grpc.RpcError:
            return False
    return True


def load_collections(uri: str) -> list[str]:
    """Load every collection of a server that has just started, and return their names."""
    from pymilvus import MilvusClient

    client = MilvusClient(uri, grpc_options=GRPC_OPTIONS)
    try:
        names = [str(name) for name in client.list_collections()]
        for name in names:
            client.load_collection(name)
        return names
    finally:
        client.close()


def milvus_spec(folder: StateFolder, port: int) -> ServiceSpec:
    """Describe the local Milvus of a state folder."""
    uri = f"http://{LOOPBACK}:{port}"
    return ServiceSpec(
        name="milvus",
        argv=tuple(Program.MILVUS_SERVER.command("--data-dir", str(folder.milvus), "--port", str(port))),
        address=uri,
        port=port,
        is_ready=lambda: is_milvus_ready(port),
        cwd=folder.milvus,
        after_start=lambda: _load_and_forget(uri),
    )


def _load_and_forget(uri: str) -> None:
    load_collections(uri)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then flush and close."""
    from milvus_lite.adapter.grpc.server import run_server

    if not milvus_lite_reads.install():
        print(f"milvus-lite is not {milvus_lite_reads.MILVUS_LITE}: its own, slower reads are used", flush=True)  # noqa: T201
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    # run_server closes the database on KeyboardInterrupt only.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_server(options.data_dir, host=LOOPBACK, port=options.port)


if __name__ == "__main__":
    main()
