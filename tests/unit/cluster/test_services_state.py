"""What a run remembers, where it keeps it, and which ports it takes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest

from cluster.services.errors import ServiceError
from cluster.services.folder import StateFolder, make_private, open_state_folder
from cluster.services.ports import FIRST_PORT, LAST_PORT, choose_ports
from cluster.services.processes import RUN_ID_VARIABLE, ProcessRecord, child_environment, find, remember
from cluster.services.redis_server import render_redis_config
from cluster.services.sqlite_file import is_sqlite_ready, prepare_sqlite
from cluster.services.state import RunState, load_state, parse_state, save_state, write_atomically
from cluster.services.supervisor import rotate, tail
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit
SEED = "abcd"


def test_state_survives_a_round_trip(tmp_path: Path) -> None:
    state = RunState({"redis": 20001}, {"redis": ProcessRecord(7, 12.5)}, "hash")
    save_state(tmp_path / "run" / "state.json", state)
    assert load_state(tmp_path / "run" / "state.json") == (state, "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 99}', '{"version": 1, "ports": 3}'])
def test_state_is_put_aside_when_corrupted(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    state, remark = load_state(path)
    assert state == RunState()
    assert "unreadable" in remark
    assert path.with_suffix(".corrupt").read_text() == text
    assert not path.exists()


def test_observer_leaves_a_corrupted_state_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("{")
    state, remark = load_state(path, is_observer=True)
    assert state == RunState()
    assert remark
    assert path.read_text() == "{"


def test_state_without_a_process_is_refused() -> None:
    with pytest.raises(ValueError, match="incomplete"):
        parse_state('{"version": 1, "ports": {}, "processes": {"redis": {"pid": 1}}, "deployed_hash": ""}')


def test_write_leaves_no_half_file_when_it_fails(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="director"):
        write_atomically(target, "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_ports_stay_when_they_are_still_free() -> None:
    remembered = choose_ports(["a", "b"], {}, SEED, lambda port: True)
    assert choose_ports(["b", "a"], remembered, SEED, lambda port: True) == remembered


def test_port_taken_in_between_is_replaced_and_the_other_kept() -> None:
    remembered = choose_ports(["a", "b"], {}, SEED, lambda port: True)
    chosen = choose_ports(["a", "b"], remembered, SEED, lambda port: port != remembered["a"])
    assert chosen["b"] == remembered["b"]
    assert chosen["a"] not in remembered.values()


def test_ports_are_distinct_and_below_the_ephemeral_range() -> None:
    chosen = choose_ports([str(number) for number in range(50)], {}, "ffff", lambda port: True)
    assert len(set(chosen.values())) == 50
    assert all(FIRST_PORT <= port <= LAST_PORT < 32_768 for port in chosen.values())


def test_ports_run_out_with_an_error_that_names_the_service() -> None:
    with pytest.raises(ServiceError, match="redis: no free port"):
        choose_ports(["redis"], {}, SEED, lambda port: False)


def test_process_is_known_again_by_its_creation_time() -> None:
    record = remember(os.getpid())
    assert find(record) == psutil.Process(os.getpid())
    assert find(ProcessRecord(record.pid, record.create_time - 3600)) is None
    assert find(None) is None


def test_child_environment_carries_the_marker_and_no_other_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    monkeypatch.setenv(RUN_ID_VARIABLE, "voxray-other")
    environment = child_environment("voxray-1", {"EXTRA": "1"})
    assert environment[RUN_ID_VARIABLE] == "voxray-1"
    assert "RAY_ADDRESS" not in environment
    assert environment["EXTRA"] == "1"
    assert environment["SPT_NOENV"] == "1"
    assert (Path(environment["PYTHONPATH"].split(os.pathsep)[0]) / "cluster" / "services").is_dir()


def test_state_folder_is_private_and_known_by_its_path(tmp_path: Path) -> None:
    one, other = open_state_folder(tmp_path / "a b" / "x"), open_state_folder(tmp_path / "a b" / "y")
    assert stat.S_IMODE(one.root.stat().st_mode) == 0o700
    assert one.run_id != other.run_id
    assert one.run_id == StateFolder(one.root).run_id


def test_state_folder_is_refused_when_it_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"paths\.state"):
        open_state_folder(tmp_path / "file" / "state")


def test_private_folder_is_refused_when_it_is_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.services.folder.LONGEST_RAY_FOLDER_BYTES", 4096)
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="belongs to somebody else"):
        make_private(tmp_path / "link")


def test_private_folder_is_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.services.folder.LONGEST_RAY_FOLDER_BYTES", 4096)
    (tmp_path / "open").mkdir(mode=0o777)
    assert stat.S_IMODE(make_private(tmp_path / "open").stat().st_mode) == 0o700


def test_private_folder_is_refused_when_sockets_would_not_fit() -> None:
    with pytest.raises(ConfigError, match="set TMPDIR"):
        make_private(Path("/" + "x" * 60))


def test_ray_folder_does_not_depend_on_the_length_of_the_state_path(tmp_path: Path) -> None:
    short, long = StateFolder(tmp_path), StateFolder(tmp_path / ("x" * 200))
    assert len(str(short.ray)) == len(str(long.ray))
    assert short.ray != long.ray


def test_redis_config_quotes_a_path_with_spaces() -> None:
    text = render_redis_config(Path('/a b/"c"'), 20001)
    assert 'dir "/a b/\\"c\\""' in text
    assert "bind 127.0.0.1\n" in text
    assert "maxmemory-policy noeviction" in text


def test_sqlite_is_made_in_wal_mode_and_damage_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a b.sqlite"
    assert not is_sqlite_ready(path)
    prepare_sqlite(path)
    assert is_sqlite_ready(path)
    path.write_bytes(b"no database at all" * 100)
    assert not is_sqlite_ready(path)
    with pytest.raises(ServiceError, match="sql"):
        prepare_sqlite(path)


def test_logs_rotate_and_the_oldest_goes(tmp_path: Path) -> None:
    log = tmp_path / "redis.log"
    for number in range(5):
        log.write_text(str(number))
        rotate(log, kept=2)
    assert sorted((path.name, path.read_text()) for path in tmp_path.iterdir()) == [
        ("redis.log.1", "4"),
        ("redis.log.2", "3"),
    ]


def test_tail_shows_the_last_lines_and_nothing_without_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert tail(log) == ""
    log.write_text("one\ntwo\nthree\n")
    assert tail(log, 2) == "  | two\n  | three"
