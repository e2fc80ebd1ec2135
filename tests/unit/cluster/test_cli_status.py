"""`voxray status`: what it prints, and that it can be read and copied on a narrow terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cluster.cli.services import show_processor, show_status
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.status import UP, ClusterStatus, StatusRow
from cluster.processor import Processor

pytestmark = pytest.mark.unit

LONG_PATH = "/home/somebody/with/quite/a/long/way/to/the/project/of/voxray/.voxray/voxray.sqlite"
ROWS = (
    StatusRow("sql", UP, address=LONG_PATH),
    StatusRow("milvus", "no answer", 4_194_303, "http://127.0.0.1:29009", 98_765.0, 157 << 20),
    StatusRow("ingress", UP, address="ws://127.0.0.1:29013/v1/realtime"),
    StatusRow("StreamingTranscriber", "deploy_failed 0/1", 4_194_302, "", 76.0, 12_345 << 20),
)


def printed(width: int, rows: tuple[StatusRow, ...] = ROWS) -> list[str]:
    screen = io.StringIO()
    show_status(ClusterStatus(rows, 12_502 << 20), Console(file=screen, width=width))
    return screen.getvalue().splitlines()


def test_addresses_are_whole_and_the_table_fits_eighty_columns() -> None:
    lines = printed(80)
    for row in ROWS:
        assert any(row.name in line for line in lines)
        if row.address:
            assert sum(line.endswith(row.address) for line in lines) == 1
    assert [line for line in lines if len(line) > 80] == [line for line in lines if LONG_PATH in line]
    table = "\n".join(lines)
    for whole in ("4194303", "27 h 26 min", "12345 MiB", "deploy_failed 0/1", "StreamingTranscriber"):
        assert whole in table


def test_memory_of_machines_elsewhere_is_not_made_up() -> None:
    lines = printed(80, (StatusRow("application", UP, address="http://head:8265"),))
    assert not any("memory of all" in line for line in lines)


def test_processor_and_the_data_type_that_was_chosen_for_it_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.cli.services.this_processor", lambda: Processor("An Old CPU", 4, ("avx2",), 2))
    screen = io.StringIO()
    show_processor(VoxrayConfig(), Console(file=screen, width=80))
    lines = screen.getvalue().splitlines()
    assert lines[1].split(maxsplit=1) == ["processor", "An Old CPU, 4 cores, avx2"]
    assert lines[2:] == [
        "transcriber pool default: threads 2",
        "language model pool default: dtype float32, threads 2, lookahead_tokens 5",
    ]
