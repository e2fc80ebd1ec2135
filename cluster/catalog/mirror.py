"""Copies models to the operator's own bucket, for machines without internet access. The same hashes apply."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.catalog.catalog import ModelCatalog
from cluster.catalog.entries import DerivedSource, find_entry
from cluster.catalog.progress import Progress
from cluster.catalog.remotes import s3_errors, s3_file


def origin_of(catalog: ModelCatalog, name: str) -> str:
    """Return the model to copy for `name`. A derived model is made on each machine, so its origin is copied."""
    source = find_entry(catalog.entries, name).source
    return origin_of(catalog, source.of) if isinstance(source, DerivedSource) else name


def upload(catalog: ModelCatalog, name: str, url: str, progress: Progress, client: Any = None) -> Mapping[str, bool]:
    """Copy a model's files from this machine to `url`/NAME. Blocks, for minutes with large models.

    Args:
        catalog: the catalog in which the model is installed.
        name: the model; not a derived one (`origin_of`).
        url: s3://BUCKET/PREFIX.
        progress: informed about each file.
        client: boto3 client of S3; None creates one with the environment's credentials.

    Returns:
        For each file whether it was sent. False means that an object with this size and hash exists already.

    Raises:
        ModelMissing: it is not on this machine.
        SourceRefused: the bucket refused the upload.
    """
    folder = catalog.path(name)
    sent: dict[str, bool] = {}
    for file in find_entry(catalog.entries, name).files:
        target = s3_file(f"{url.rstrip('/')}/{name}", file.path, client)
        sent[file.path] = _send(folder / file.path, target.client, (target.bucket, target.key), file.sha256, progress)
    return sent


def _send(file: Path, client: Any, address: tuple[str, str], sha256: str | None, progress: Progress) -> bool:
    bucket, key = address
    size = file.stat().st_size
    with s3_errors(f"s3://{bucket}/{key}"):
        found = client.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if found and (found[0]["Key"], found[0]["Size"]) == (key, size):
            metadata = client.head_object(Bucket=bucket, Key=key).get("Metadata", {})
            if sha256 and metadata.get("sha256") == sha256:
                return False
        progress.begin(f"{key}", size)
        done = 0

        def count(sent_bytes: int) -> None:
            nonlocal done
            done += sent_bytes
            progress.at(done)

        extra = {"Metadata": {"sha256": sha256}} if sha256 else {}
        client.upload_file(str(file), bucket, key, ExtraArgs=extra, Callback=count)
    return True
