"""Finds archives in the user's package index by asking pip and npm themselves, so that all their settings apply."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from cluster.catalog.errors import SourceRefused, SourceUnreachable
from cluster.catalog.remotes import HttpFile, LocalFile
from cluster.catalog.transfer import RemoteFile

QUESTION_TIMEOUT_S = 120
_OFFLINE_WORDS = (
    "connection error",
    "connection broken",
    "newconnectionerror",
    "connection refused",
    "econnrefused",
    "enotfound",
    "eai_again",
    "etimedout",
    "timed out",
    "problem confirming the ssl certificate",
)


@dataclass(frozen=True, slots=True)
class Archive:
    """A package's file in an index: its name, its URL, and the digest given by the index ("" if none)."""

    file_name: str
    remote: RemoteFile
    algorithm: str
    hex_digest: str


def find_wheel(package: str, version: str) -> Archive:
    """Ask pip for the wheel. Nothing is installed and no code of the package is run.

    If an index has no separate metadata file for its wheels, pip has to read the wheel itself to answer.

    Raises:
        SourceRefused: the index has no such wheel.
        SourceUnreachable: pip could not be asked or gave no answer.
    """
    wanted = f"{package}=={version}"
    flags = ["--dry-run", "--ignore-installed", "--no-deps", "--only-binary", ":all:", "--progress-bar", "off"]
    with tempfile.TemporaryDirectory() as folder:
        report_file = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "install", *flags, "--report", str(report_file), wanted]
        _asked(command, wanted, absent="No matching distribution")
        report = json.loads(report_file.read_text(encoding="utf-8"))
    info = report["install"][0]["download_info"]
    digest = info.get("archive_info", {}).get("hashes", {}).get("sha256", "")
    return _archive(info["url"], wanted, "sha256", digest, _pip_certificates())


def find_npm_tarball(package: str, version: str) -> Archive:
    """Ask npm for the tarball.

    Raises:
        SourceRefused: the registry has no such version.
        SourceUnreachable: npm could not be asked or gave no answer.
    """
    wanted = f"{package}@{version}"
    printed = _asked(["npm", "view", wanted, "dist", "--json"], wanted, absent="E404")
    if not printed.strip():
        raise SourceRefused(f"{wanted}: the registry has the package, but not this version")
    dist = json.loads(printed)
    algorithm, _, encoded = str(dist.get("integrity", "")).partition("-")
    digest = base64.b64decode(encoded).hex() if algorithm in ("sha512", "sha256") else ""
    return _archive(dist["tarball"], wanted, algorithm, digest, None)


def _archive(url: str, label: str, algorithm: str, digest: str, certificates: Path | None) -> Archive:
    parts = urlsplit(url)
    name = Path(unquote(parts.path)).name
    if parts.scheme == "file":
        return Archive(name, LocalFile(Path(url2pathname(parts.path))), algorithm, digest)
    if parts.scheme in ("http", "https"):
        hint = "An index that wants a password must be readable without one here, or have the file in a folder"
        remote = HttpFile(url, label, refusal_hint=hint, trusted_certificates=certificates)
        return Archive(name, remote, algorithm, digest)
    raise SourceRefused(f"{label}: the index keeps it at a {parts.scheme}: address, which cannot be read")


def _asked(command: list[str], wanted: str, *, absent: str) -> str:
    """Run a query and return its output. `absent` is the tool's phrase for a missing package."""
    tool = "npm" if command[0] == "npm" else "pip"
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUESTION_TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise SourceUnreachable(f"{wanted}: {tool} is not installed, and only it knows the registry") from error
    except subprocess.TimeoutExpired as error:
        text = f"{wanted}: {tool} gave no answer in {QUESTION_TIMEOUT_S} s: is there a network?"
        raise SourceUnreachable(text) from error
    if answer.returncode == 0:
        return answer.stdout
    said = f"{answer.stdout}\n{answer.stderr}".strip()
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["nothing"]
    reason = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1])
    text = f"{wanted}: {tool} does not find it: {reason}"
    # pip reports "no such package" and "no network" alike. Only its earlier remarks distinguish them.
    if absent in said and not any(word in said.lower() for word in _OFFLINE_WORDS):
        raise SourceRefused(f"{text}. Is the right index configured ({tool} config list)?")
    raise SourceUnreachable(f"{text}. Is there a network, a proxy, the right index ({tool} config list)?")


def _pip_certificates() -> Path | None:
    """Return the certificate file that pip is configured to trust, since the same index is read next."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=QUESTION_TIMEOUT_S, check=False)
    for line in answer.stdout.splitlines():
        key, _, value = line.partition("=")
        file = Path(value.strip("'\""))
        if key.endswith(".cert") and file.is_file():
            return file
    return None
