"""`voxray status`: what it prints, and that it can be read and copied on a narrow terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cluster.cli.services import show_status
from cluster.lifecycle.status import UP, ClusterStatus, StatusRow

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
