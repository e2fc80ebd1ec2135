"""Fetching over a real line: broken, cut, wrong, refused, interrupted, and by two at once."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, stop_after_delay, wait_fixed

from cluster.catalog import ModelCatalog
from cluster.catalog.entries import ModelEntry
from cluster.catalog.errors import (
    DiskFull,
    ModelMissing,
    NotPinned,
    SourceRefused,
    SourceUnreachable,
    WrongHash,
)
from cluster.catalog.store import ModelStore
from cluster.catalog.transfer import Patience
from tests.contract.catalog_server import FileServer, Served, running_server

pytestmark = pytest.mark.contract

CONTENT = random.Random(7).randbytes(3_000_000)
IMPATIENT = Patience(tries=3, first_wait_s=0.0)
PATH = "/acme/ear/resolve/main/model.onnx"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running_server() as running:
        running.files[PATH] = Served(CONTENT)
        yield running


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def entry(**changes: Any) -> ModelEntry:
    described: dict[str, Any] = {
        "name": "ear",
        "kind": "recognition",
        "licence": {"spdx": "MIT"},
        "files": [{"path": "model.onnx", "bytes": len(CONTENT), "sha256": sha256_of(CONTENT)}],
        "source": {"type": "huggingface", "repo": "acme/ear"},
    }
    return ModelEntry.model_validate(described | changes)


def catalog_of(folder: Path, *entries: ModelEntry, **environment: str) -> ModelCatalog:
    return ModelCatalog({e.name: e for e in entries}, ModelStore(folder), environment, patience=IMPATIENT)


def files_below(folder: Path) -> set[str]:
    """Everything in the models folder that is not a lock."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_fetched_model_is_whole_and_a_second_fetch_asks_nobody(server: FileServer, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    with pytest.raises(ModelMissing, match="voxray models fetch ear"):
        catalog.path("ear")
    folder = catalog.fetch("ear")
    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert catalog.path("ear") == catalog.fetch("ear") == folder
    assert len(server.requests) == 1


def test_cut_line_is_taken_up_where_it_broke(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].cuts = [1_000_000, 500_000]
    folder = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url).fetch("ear")
    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert server.ranges_of(PATH) == ["", "bytes=1000000-", "bytes=1500000-"]


def test_cut_line_starts_over_with_a_server_without_ranges(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].cuts = [1_000_000]
    server.files[PATH].has_ranges = False
    folder = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url).fetch("ear")
    assert (folder / "model.onnx").read_bytes() == CONTENT


def test_line_that_moves_on_a_little_each_time_is_never_given_up(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].cuts = [300_000] * 9
    assert catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url).fetch("ear").is_dir()


def test_passing_server_errors_are_waited_out(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].statuses = [503, 429]
    assert catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url).fetch("ear").is_dir()


def test_dead_line_says_what_to_do_and_keeps_the_part_for_the_next_run(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].cuts = [1_000_000, 0, 0, 0]
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    with pytest.raises(SourceUnreachable, match=r"acme/ear: model\.onnx.*Is there a network.*Run the command again"):
        catalog.fetch("ear")
    assert files_below(tmp_path) == {"model.onnx.part"}
    catalog.fetch("ear")
    assert server.ranges_of(PATH)[-1] == "bytes=1000000-"


def test_no_network_at_all_is_told_as_such(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT="http://127.0.0.1:9")
    with pytest.raises(SourceUnreachable, match="Is there a network"):
        catalog.fetch("ear")
    assert files_below(tmp_path) == set()


def test_wrong_bytes_are_deleted_and_both_hashes_told(server: FileServer, tmp_path: Path) -> None:
    wrong = b"x" + CONTENT[1:]
    server.files[PATH].content = wrong
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    with pytest.raises(WrongHash) as caught:
        catalog.fetch("ear")
    assert sha256_of(CONTENT) in str(caught.value)
    assert sha256_of(wrong) in str(caught.value)
    assert files_below(tmp_path) == set()
    assert not catalog.is_installed("ear")
    server.files[PATH].content = CONTENT
    assert catalog.fetch("ear").is_dir()


def test_part_longer_than_the_file_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    server.files[PATH].cuts = [2_000_000, 0, 0, 0]
    with pytest.raises(SourceUnreachable):
        catalog.fetch("ear")
    part = next(tmp_path.rglob("*.part"))
    part.write_bytes(CONTENT + b"more")
    assert (catalog.fetch("ear") / "model.onnx").read_bytes() == CONTENT


def test_gated_model_says_where_to_accept_and_which_variable_to_set(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].token = "hf_right"
    for environment in ({}, {"HF_TOKEN": "hf_wrong"}):
        with pytest.raises(SourceRefused) as caught:
            catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url, **environment).fetch("ear")
        assert "401" in str(caught.value)
        assert "https://huggingface.co/acme/ear" in str(caught.value)
        assert "HF_TOKEN" in str(caught.value)
        assert "hf_wrong" not in str(caught.value)
    assert catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url, HF_TOKEN="hf_right").fetch("ear").is_dir()


def test_model_without_known_hash_is_refused_until_pinned_and_then_held_to_it(
    server: FileServer, tmp_path: Path
) -> None:
    catalog = catalog_of(tmp_path, entry(files=["model.onnx"]), HF_ENDPOINT=server.url)
    with pytest.raises(NotPinned, match=r"voxray models pin ear.*licence: MIT"):
        catalog.fetch("ear")
    assert server.requests == []
    assert catalog.pin("ear") == {"model.onnx": sha256_of(CONTENT)}
    home = catalog.fetch("ear").parent
    (home / "files" / "model.onnx").unlink()
    server.files[PATH].content = b"other"
    with pytest.raises(WrongHash):
        catalog.fetch("ear")


def test_changed_file_is_seen_without_hashing_and_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    file = catalog.fetch("ear") / "model.onnx"
    file.write_bytes(b"short")
    with pytest.raises(ModelMissing):
        catalog.path("ear")
    assert (catalog.fetch("ear") / "model.onnx").read_bytes() == CONTENT


def test_file_changed_behind_size_and_time_is_found_by_verify(server: FileServer, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    file = catalog.fetch("ear") / "model.onnx"
    before = file.stat()
    file.write_bytes(b"x" + CONTENT[1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert catalog.is_installed("ear")
    with pytest.raises(WrongHash, match=r"changed or missing: model\.onnx"):
        catalog.verify("ear")
    assert not catalog.is_installed("ear")
    catalog.fetch("ear")
    catalog.verify("ear")


def test_copied_cache_is_hashed_and_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url)
    os.utime(catalog.fetch("ear") / "model.onnx", ns=(1, 1))
    assert not catalog.is_installed("ear")
    catalog.fetch("ear")
    assert len(server.requests) == 1


FETCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell starts its children deaf to Ctrl-C
from pathlib import Path
from cluster.catalog.catalog import ModelCatalog
from cluster.catalog.entries import ModelEntry
from cluster.catalog.store import ModelStore
entry = ModelEntry.model_validate_json(sys.argv[2])
catalog = ModelCatalog({"ear": entry}, ModelStore(Path(sys.argv[1])), {"HF_ENDPOINT": sys.argv[3]})
%s
print(catalog.fetch("ear"))
"""


def fetching_process(folder: Path, url: str, before: str = "", **changes: Any) -> subprocess.Popen[str]:
    described = entry(**changes).model_dump_json(by_alias=True)
    command = [sys.executable, "-c", FETCH % before, str(folder), described, url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@retry(stop=stop_after_delay(60), wait=wait_fixed(0.05), reraise=True)
def wait_for_part(folder: Path) -> None:
    """Wait until the program has written what the server has sent: the sender is ahead of a busy reader."""
    assert any(part.stat().st_size for part in folder.rglob("*.part"))


def test_interrupted_fetch_keeps_its_part_and_goes_on(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH].stalls_after = 2_200_000
    process = fetching_process(tmp_path, server.url)
    assert server.has_stalled.wait(30)
    wait_for_part(tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert files_below(tmp_path) == {"model.onnx.part"}
    kept = next(tmp_path.rglob("*.part")).stat().st_size
    assert 0 < kept <= 2_200_000
    server.files[PATH].stalls_after = None
    assert catalog_of(tmp_path, entry(), HF_ENDPOINT=server.url).fetch("ear").is_dir()
    assert server.ranges_of(PATH)[-1] == f"bytes={kept}-"


def test_full_disk_is_told_and_leaves_no_half_file(server: FileServer, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))"
    process = fetching_process(tmp_path, server.url, limit)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "DiskFull" in errors
    assert "VOXRAY_MODELS" in errors
    assert files_below(tmp_path) == set()


def test_model_larger_than_the_disk_is_refused_before_the_download(server: FileServer, tmp_path: Path) -> None:
    huge = entry(files=[{"path": "model.onnx", "bytes": 1 << 60, "sha256": sha256_of(CONTENT)}])
    with pytest.raises(DiskFull, match=r"needs \d+ MiB"):
        catalog_of(tmp_path, huge, HF_ENDPOINT=server.url).fetch("ear")
    assert server.requests == []


def test_two_processes_at_once_fetch_one_copy(server: FileServer, tmp_path: Path) -> None:
    processes = [fetching_process(tmp_path, server.url) for _ in range(2)]
    outputs = [process.communicate(timeout=30) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0]
    assert len(server.requests) == 1
