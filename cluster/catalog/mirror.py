"""A copy of the models in one's own bucket: what machines without the internet fetch, checked by the same hashes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cluster.catalog.catalog import ModelCatalog
from cluster.catalog.entries import DerivedSource, find_entry
from cluster.catalog.progress import Progress
from cluster.catalog.remotes import s3_errors, s3_file


def origin_of(catalog: ModelCatalog, name: str) -> str:
    """Return the model that is copied for `name`: what is made from another on each machine is not."""
    source = find_entry(catalog.entries, name).source
    return origin_of(catalog, source.of) if isinstance(source, DerivedSource) else name


def upload(catalog: ModelCatalog, name: str, url: str, progress: Progress, client: Any = None) -> Mapping[str, bool]:
    """Copy a model's files from this machine to `url`/NAME; blocking, minutes for large ones.

    Args:
        catalog: where the model is installed.
        name: the model; not a derived one (`origin_of`).
        url: s3://BUCKET/PREFIX.
        progress: told of each file.
        client: boto3's of S3; None: made with the credentials of the environment.

    Returns:
        For each file whether it was sent; False: an object of that size and hash is there.

    Raises:
        ModelMissing: it is not on this machine.
        SourceRefused: the bucket said no.
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
