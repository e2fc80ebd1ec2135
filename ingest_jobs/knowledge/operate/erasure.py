"""Erases a person: removes their documents and vectors from every place that a job writes to, and gives a receipt.

    every version (live, kept, being built)   rows whose `subject` is the person's digest
    undo files of incremental runs            the same rows as they were
    files that wait for a bulk import         whole files that hold such rows
    the change log                            live updates about the person, also those that were set aside
    the state of changes                      forgotten with them

A tombstone (the digest, no name) keeps later and resumed jobs from bringing the person back, and a job that is running
reads it before its switch. The receipt is signed (Ed25519), so that anyone with the public key can check that it is
ours and unaltered, and `verify` checks again whether it is still true.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from deployments.engines.milvus.expressions import about_subject, check_tenant
from deployments.engines.milvus.versions import VersionStore
from deployments.stores.change_log import ChangeLog
from ingest_jobs.knowledge.read.documents import subject_digest
from ingest_jobs.knowledge.store.blobs import Blobs, get_json, put_json
from ingest_jobs.knowledge.store.records import erase_subject, is_erased
from ingest_jobs.knowledge.store.staging import forget_staged_subject, staged_subject_rows
from ingest_jobs.knowledge.store.undo import UNDO, forget_subject, read_undo
from pipelines.errors import Component, ConfigError, EngineError

RECEIPTS = "ingest/receipts/"
_KEY = "ingest/keys/erasure-ed25519"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was erased, where, and that nothing is left.

    Attributes:
        subject: the person's digest (SHA-256 of tenant and id), which anyone who knows the id can check.
        places: number of rows or entries removed, by place.
        remaining: number found by a second search, by place; all are 0.
        signature: signature over all other fields, in base64, as is `public_key`.
    """

    receipt: str
    tenant: str
    subject: str
    at_s: float
    places: dict[str, int] = field(default_factory=dict)
    remaining: dict[str, int] = field(default_factory=dict)
    public_key: str = ""
    signature: str = ""

    def signed_bytes(self) -> bytes:
        """Return the bytes to sign: the receipt as JSON with sorted keys, without its signature."""
        plain = {key: value for key, value in asdict(self).items() if key != "signature"}
        return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()


def erase(stores: list[VersionStore], blobs: Blobs, logs: list[ChangeLog], tenant: str, subject: str) -> Receipt:
    """Erase a person of a tenant. Doing it again finds nothing and gives another receipt.

    Args:
        stores: one for each collection that may hold the person.
        blobs: the object store.
        logs: the change logs of the collections.
        tenant: the tenant of the data. Other tenants' data is not touched, even with the same id.
        subject: the person's id, as given in the data.

    Raises:
        ConfigError: no subject was given.
        EngineError: a place could not be reached or did not delete its rows. Erase again.
    """
    if not subject:
        raise ConfigError("say whom to erase: give the id of the person as in the data")
    check_tenant(tenant)
    digest = subject_digest(tenant, subject)
    name = f"erasure-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"
    # The tombstone comes first, so that a running job finds it before going live, and removes what it wrote meanwhile.
    erase_subject(blobs, tenant, digest, name, time.time())
    places: dict[str, int] = {}
    for log in logs:
        places[f"changes/{log.alias}"] = log.forget_subject(tenant, subject)
    for store in stores:
        for version in store.versions():
            places[version] = _erase_rows(store, version, tenant, digest)
    for undo in _undo_files(blobs, tenant):
        places[undo] = forget_subject(blobs, undo, digest)
    places["staged for import"] = forget_staged_subject(blobs, tenant, digest)
    remaining = _remaining(stores, blobs, logs, tenant, digest)
    if any(remaining.values()):
        raise EngineError(Component.ERASURE, f"still there: {remaining}; erase again", retryable=True)
    receipt = _signed(Receipt(name, tenant, digest, round(time.time(), 3), places, remaining), blobs)
    put_json(blobs, f"{RECEIPTS}{tenant}/{name}.json", asdict(receipt))
    return receipt


def verify(
    receipt: dict[str, Any], stores: list[VersionStore], blobs: Blobs, logs: list[ChangeLog]
) -> tuple[bool, dict[str, int]]:
    """Check a receipt. Returns whether it is ours and unaltered, and how much of the person is found now, by place.

    Raises:
        ConfigError: the text is not a receipt.
    """
    try:
        given = Receipt(**receipt)
        signature = base64.b64decode(given.signature, validate=True)
    except (TypeError, ValueError) as error:
        raise ConfigError("this is not the receipt of an erasure") from error
    key = _private_key(blobs).public_key()
    is_ours = given.public_key == _text(key) and _is_signed(key, signature, given.signed_bytes())
    now = _remaining(stores, blobs, logs, given.tenant, given.subject)
    now["tombstone missing"] = 0 if is_erased(blobs, given.tenant, given.subject) else 1
    return is_ours, now


def _erase_rows(store: VersionStore, version: str, tenant: str, digest: str) -> int:
    if not store.rows.has_ledger(version):
        return 0
    store.load(version)
    erased = store.rows.delete(version, tenant, about_subject(digest))
    if erased:
        store.rows.compact(version)
    return erased


def _remaining(
    stores: list[VersionStore], blobs: Blobs, logs: list[ChangeLog], tenant: str, digest: str
) -> dict[str, int]:
    found: dict[str, int] = {}
    for store in stores:
        for version in store.versions():
            if store.rows.has_ledger(version):
                found[version] = store.rows.count(version, tenant, about_subject(digest))
    for undo in _undo_files(blobs, tenant):
        batches = read_undo(blobs, undo)
        rows = (row for batch in batches[1] for row in batch) if batches else iter(())
        found[undo] = sum(row["subject"] == digest for row in rows)
    found["staged for import"] = staged_subject_rows(blobs, tenant, digest)
    for log in logs:
        found[f"changes/{log.alias}"] = sum(subject_digest(tenant, who) == digest for who in log.subjects(tenant))
    return found


def _undo_files(blobs: Blobs, tenant: str) -> Iterator[str]:
    for name in list(blobs.names(UNDO)):
        if name.endswith(".parquet") and name.split("/")[-2] == tenant:
            yield name


def _signed(receipt: Receipt, blobs: Blobs) -> Receipt:
    key = _private_key(blobs)
    unsigned = Receipt(**{**asdict(receipt), "public_key": _text(key.public_key())})
    signature = base64.b64encode(key.sign(unsigned.signed_bytes())).decode()
    return Receipt(**{**asdict(unsigned), "signature": signature})


def _private_key(blobs: Blobs) -> Ed25519PrivateKey:
    """Return this installation's key, created on first use and stored in the object store for its owner only."""
    saved = get_json(blobs, _KEY)
    if saved is None:
        key = Ed25519PrivateKey.generate()
        raw = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        put_json(blobs, _KEY, {"private": base64.b64encode(raw).decode()})
        return key
    return Ed25519PrivateKey.from_private_bytes(base64.b64decode(saved["private"]))


def _is_signed(key: Ed25519PublicKey, signature: bytes, data: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _text(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
