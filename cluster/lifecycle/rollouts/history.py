"""The history of deployed configurations, kept so that the previous one can be restored.

Each deployment has one numbered JSON file, which is never rewritten, in the cluster's object store
(`deployments/000001.json`). Every operator therefore sees the same history, and it outlives the head.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from cluster.services.errors import ServiceError

FOLDER = "deployments"
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class DeployedConfig:
    """One deployment.

    Attributes:
        number: number of the deployment, from 1.
        at_s: time of the deployment, in seconds since 1970.
        what: the operation: "deploy", "rollback to N" or "up".
        rendered: the Serve configuration as submitted. It contains no secrets, only names of variables.
        origin: number of the deployment that the configuration is from: its own, or the one that a roll-back restored.
    """

    number: int
    at_s: int
    what: str
    rendered: dict[str, Any]
    origin: int


class NumberedFiles(Protocol):
    """A store of numbered texts. `add` refuses an existing number (FileExistsError)."""

    def numbers(self) -> list[int]:
        """Return the existing numbers in rising order."""

    def read(self, number: int) -> str:
        """Return a text."""

    def add(self, number: int, text: str) -> None:
        """Store a text under a new number."""


@dataclass(frozen=True, slots=True)
class FilesInFolder:
    """Numbered texts in a folder of this machine."""

    folder: Path

    def numbers(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdigit())

    def read(self, number: int) -> str:
        return (self.folder / _name(number)).read_text(encoding="utf-8")

    def add(self, number: int, text: str) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.folder / _name(number)).open("x", encoding="utf-8") as file:
            file.write(text)


@dataclass(frozen=True, slots=True)
class FilesInS3:
    """Numbered texts below a prefix of a bucket. boto3 finds the credentials."""

    client: Any
    bucket: str
    prefix: str

    def numbers(self) -> list[int]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        names = [Path(item["Key"]).stem for page in pages for item in page.get("Contents", [])]
        return sorted(int(name) for name in names if name.isdigit())

    def read(self, number: int) -> str:
        body = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{_name(number)}")["Body"]
        text: str = body.read().decode("utf-8")
        return text

    def add(self, number: int, text: str) -> None:
        from botocore.exceptions import ClientError

        try:
            # "*" writes only if nothing is there, so that one of two operators notices the other.
            self.client.put_object(
                Bucket=self.bucket, Key=f"{self.prefix}/{_name(number)}", Body=text.encode(), IfNoneMatch="*"
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "PreconditionFailed":
                raise FileExistsError(number) from error
            raise


class DeploymentHistory:
    """The deployments of one cluster, oldest first."""

    def __init__(self, files: NumberedFiles) -> None:
        self._files = files

    def last(self) -> DeployedConfig | None:
        """Return the latest deployment, or None."""
        numbers = self._files.numbers()
        return self.get(numbers[-1]) if numbers else None

    def get(self, number: int) -> DeployedConfig:
        """Return one deployment.

        Raises:
            ServiceError: no deployment has this number.
        """
        if number not in self._files.numbers():
            raise ServiceError("history", f"no deployment has the number {number}; `voxray rollback --list` shows them")
        return DeployedConfig(**json.loads(self._files.read(number)))

    def all(self) -> list[DeployedConfig]:
        """Return all deployments, oldest first."""
        return [DeployedConfig(**json.loads(self._files.read(number))) for number in self._files.numbers()]

    def before(
        self, current: DeployedConfig, as_it_would_be: Callable[[dict[str, Any]], dict[str, Any]] = lambda item: item
    ) -> DeployedConfig | None:
        """Return the latest earlier deployment with a different configuration, or None.

        After a roll-back to N this is a deployment before N, so rolling back twice goes back twice.

        Args:
            current: the current deployment.
            as_it_would_be: turns an earlier configuration into what would be submitted to restore it.
        """
        for number in reversed([number for number in self._files.numbers() if number < current.origin]):
            earlier = self.get(number)
            if earlier.origin == earlier.number and as_it_would_be(earlier.rendered) != current.rendered:
                return earlier
        return None

    def add(self, what: str, rendered: Mapping[str, Any], origin: int | None = None) -> DeployedConfig:
        """Record a configuration that has just been deployed.

        Args:
            what: the operation that deployed it.
            rendered: the configuration.
            origin: number of the deployment that the configuration is from; None for a new one.
        """
        for _ in range(ATTEMPTS):
            number = (self._files.numbers() or [0])[-1] + 1
            made = DeployedConfig(number, int(time.time()), what, dict(rendered), origin or number)
            try:
                self._files.add(number, json.dumps(asdict(made), indent=1, sort_keys=True))
            except FileExistsError:
                continue
            return made
        raise ServiceError("history", "somebody else keeps deploying at the same time; try again later")


def open_history(objects_url: str) -> DeploymentHistory:
    """Return the history in an object store, given as a folder, file:// or s3:// URL."""
    parts = urlsplit(objects_url)
    if parts.scheme != "s3":
        return DeploymentHistory(FilesInFolder(Path(parts.path if parts.scheme == "file" else objects_url) / FOLDER))
    import boto3  # costs 0.2 s

    prefix = "/".join(piece for piece in (parts.path.strip("/"), FOLDER) if piece)
    return DeploymentHistory(FilesInS3(boto3.client("s3"), parts.netloc, prefix))


def _name(number: int) -> str:
    return f"{number:06d}.json"
