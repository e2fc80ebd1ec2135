"""Files out of archives, and archives out of indexes: from local files, and without asking any network."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.catalog.archives import extract, extract_joined
from cluster.catalog.errors import SourceRefused, SourceUnreachable
from cluster.catalog.indexes import find_npm_tarball, find_wheel
from cluster.catalog.remotes import HttpFile, LocalFile

pytestmark = pytest.mark.unit
Answer = Callable[[list[str]], subprocess.CompletedProcess[str]]


def wheel(folder: Path, **members: bytes) -> Path:
    path = folder / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"some/{name}", content)
    return path


def tarball(folder: Path, **members: bytes) -> Path:
    path = folder / "some-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "package", recursive=False)
        for name, content in members.items():
            found = tarfile.TarInfo(f"package/{name}")
            found.size = len(content)
            archive.addfile(found, io.BytesIO(content))
    return path


def asked_of(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> list[list[str]]:
    """Let `answer` stand in the place of pip and npm; return the questions that they get."""
    questions: list[list[str]] = []

    def run(command: list[str], **_options: object) -> subprocess.CompletedProcess[str]:
        questions.append(command)
        return answer(command)

    monkeypatch.setattr("cluster.catalog.indexes.subprocess.run", run)
    return questions


def says(code: int, out: str = "", err: str = "") -> Answer:
    return lambda command: subprocess.CompletedProcess(command, code, out, err)


def test_member_of_a_wheel_and_of_a_tarball_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    extract(wheel(tmp_path, model=b"in a wheel"), "some/model", tmp_path / "a" / "b" / "model")
    extract(tarball(tmp_path, model=b"in a tarball"), "package/model", tmp_path / "model")
    assert (tmp_path / "a" / "b" / "model").read_bytes() == b"in a wheel"
    assert (tmp_path / "model").read_bytes() == b"in a tarball"


def test_pieces_of_several_archives_are_joined_in_their_order(tmp_path: Path) -> None:
    pieces = [(wheel(tmp_path, p=b"one "), "some/p"), (tarball(tmp_path, p=b"two"), "package/p")]
    extract_joined(pieces, tmp_path / "whole")
    assert (tmp_path / "whole").read_bytes() == b"one two"


@pytest.mark.parametrize(
    ("make", "member"), [(wheel, "some/none"), (tarball, "package/none"), (tarball, "package")], ids=str
)
def test_missing_member_is_refused_and_leaves_nothing(make: Callable[..., Path], member: str, tmp_path: Path) -> None:
    archive = make(tmp_path, model=b"x")
    with pytest.raises(SourceRefused, match=rf"{archive.name} holds no file {member}"):
        extract_joined([(archive, member.replace("none", "model")), (archive, member)], tmp_path / "whole")
    assert not (tmp_path / "whole").exists()


def test_damaged_archive_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "some.tgz"
    broken.write_bytes(b"neither the one nor the other")
    with pytest.raises(SourceRefused, match=r"some\.tgz is damaged"):
        extract(broken, "package/model", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_wheel_of_a_folder_is_read_there_with_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"url": f"file://{tmp_path}/a%20b-1.0.whl", "archive_info": {"hashes": {"sha256": "ab" * 32}}}

    def answer(command: list[str]) -> subprocess.CompletedProcess[str]:
        if "--report" in command:
            report = {"install": [{"download_info": info}]}
            Path(command[command.index("--report") + 1]).write_text(json.dumps(report))
        return subprocess.CompletedProcess(command, 0, "", "")

    questions = asked_of(monkeypatch, answer)
    found = find_wheel("a-b", "1.0")
    assert questions[0][-1] == "a-b==1.0"
    assert "--no-deps" in questions[0]
    assert (found.file_name, found.algorithm, found.hex_digest) == ("a b-1.0.whl", "sha256", "ab" * 32)
    assert found.remote == LocalFile(tmp_path / "a b-1.0.whl")


def test_tarball_has_the_digest_of_the_registry_in_hexadecimal(monkeypatch: pytest.MonkeyPatch) -> None:
    integrity = f"sha512-{base64.b64encode(bytes(range(64))).decode()}"
    dist = {"tarball": "https://registry.invalid/some/-/some-1.0.tgz", "integrity": integrity}
    asked_of(monkeypatch, says(0, json.dumps(dist)))
    found = find_npm_tarball("some", "1.0")
    assert (found.file_name, found.algorithm) == ("some-1.0.tgz", "sha512")
    assert found.hex_digest == bytes(range(64)).hex()
    assert isinstance(found.remote, HttpFile)
    assert found.remote.label == "some@1.0"


def test_tarball_with_a_weak_digest_or_an_odd_address(monkeypatch: pytest.MonkeyPatch) -> None:
    dist = {"tarball": "https://registry.invalid/some-1.0.tgz", "integrity": "sha1-abcd"}
    asked_of(monkeypatch, says(0, json.dumps(dist)))
    assert find_npm_tarball("some", "1.0").hex_digest == ""
    asked_of(monkeypatch, says(0, json.dumps({"tarball": "ftp://registry.invalid/some-1.0.tgz"})))
    with pytest.raises(SourceRefused, match="ftp: address"):
        find_npm_tarball("some", "1.0")


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (says(1, err="npm error code E404\nnpm error 404 Not Found"), SourceRefused, "npm error 404 Not Found"),
        (says(0, ""), SourceRefused, "not this version"),
        (says(1, err="npm error E404\nnpm error ENOTFOUND"), SourceUnreachable, "Is there a network"),
        (says(1, err="npm error EPERM"), SourceUnreachable, "npm error EPERM"),
        (says(1), SourceUnreachable, "does not find it: nothing"),
    ],
)
def test_no_of_the_registry_is_told_from_no_network(
    answer: Answer, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked_of(monkeypatch, answer)
    with pytest.raises(error, match=rf"^some@1\.0.*{message}"):
        find_npm_tarball("some", "1.0")


@pytest.mark.parametrize(
    ("failure", "message"),
    [(FileNotFoundError("npm"), "npm is not installed"), (subprocess.TimeoutExpired("npm", 120), "gave no answer")],
)
def test_tool_that_cannot_be_asked_is_named(failure: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_command: list[str]) -> subprocess.CompletedProcess[str]:
        raise failure

    asked_of(monkeypatch, fail)
    with pytest.raises(SourceUnreachable, match=message):
        find_npm_tarball("some", "1.0")
