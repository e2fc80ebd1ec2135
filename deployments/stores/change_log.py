"""Live updates of single documents: one Redis stream per collection, read from the last applied position.

The stream is authoritative until a change is in the live collection. One follower applies changes in order and then
advances the position. A reindex replays the changes after the position at which it began into the version it builds. A
change may therefore be applied twice, which is harmless, but is never lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast

import redis

from deployments.stores.redis import redis_errors

MAX_TEXT_CHARS = 200_000
_STATE_TTL_S = 24 * 3600
_READ_COUNT = 64
Kind = Literal["put", "delete", "erase"]


@dataclass(frozen=True, slots=True)
class DocumentChange:
    """A document that is put or deleted, or a person who is erased.

    `text` is Markdown; dates are ISO 8601, "" for none. `subject` is the person whom the document is about or who is to
    be erased, as named in the data. `fields` holds the dataset's fields as a JSON object, "" for none.
    """

    tenant: str
    doc_id: str
    kind: Kind
    title: str = ""
    text: str = ""
    subject: str = ""
    updated_at: str = ""
    expires_at: str = ""
    fields: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A change that the store refused.

    `entry` identifies it among those set aside, `change_id` in its original stream.
    """

    entry: str
    change_id: str
    change: DocumentChange
    reason: str


_FIELDS = tuple(field.name for field in fields(DocumentChange))
# Limit on changes set aside, so that a store that refuses everything cannot fill Redis.
_MAX_SET_ASIDE = 10_000


def stream_key(alias: str) -> str:
    """Return the name of a collection's stream."""
    return f"voxray:knowledge:{alias}:changes"


def state_key(alias: str, change_id: str) -> str:
    """Return the key of a change's state: "applied", "refused: REASON" or "set aside: REASON"."""
    return f"voxray:knowledge:{alias}:change:{change_id}"


def receipt_key(alias: str, change_id: str) -> str:
    """Return the key of an erasure's receipt."""
    return f"voxray:knowledge:{alias}:receipt:{change_id}"


def set_aside_key(alias: str) -> str:
    """Return the key of the stream of changes that the store refused, each with its reason."""
    return f"voxray:knowledge:{alias}:set-aside"


def fields_of(change: DocumentChange) -> dict[str, str]:
    """Return a change as the fields of a stream entry."""
    return {name: str(value) for name, value in asdict(change).items()}


def change_of(entry: Mapping[str, str]) -> DocumentChange:
    """Return the change that an entry holds."""
    kinds: dict[str, Kind] = {"delete": "delete", "erase": "erase"}
    texts = {name: entry.get(name, "") for name in _FIELDS if name != "kind"}
    return DocumentChange(kind=kinds.get(entry.get("kind", ""), "put"), **texts)


class ChangeLog:
    """The stream of one collection. Blocking: for jobs.

    Args:
        client: a Redis client that decodes responses.
        alias: the collection's alias.
    """

    def __init__(self, client: redis.Redis, alias: str) -> None:
        self._redis = client
        self._alias = alias
        self._stream = stream_key(alias)
        self._set_aside = set_aside_key(alias)
        self._position = f"voxray:knowledge:{alias}:applied"

    @property
    def alias(self) -> str:
        """The collection whose changes these are."""
        return self._alias

    def append(self, change: DocumentChange) -> str:
        """Record a change and return its id. It is as durable as Redis is."""
        with redis_errors():
            return str(self._redis.xadd(self._stream, cast("dict[Any, Any]", fields_of(change))))

    def applied(self) -> str:
        """Return the id up to which changes have been applied to the live collection."""
        with redis_errors():
            return str(self._redis.get(self._position) or "0-0")

    def set_applied(self, change_id: str, state: str) -> None:
        """Record that a change was applied to the live collection, or why it never will be."""
        with redis_errors():
            self._redis.set(state_key(self._alias, change_id), state, ex=_STATE_TTL_S)
            self._redis.set(self._position, change_id)

    def state(self, change_id: str) -> str:
        """Return the state of a change, or "" while it is pending."""
        with redis_errors():
            return str(self._redis.get(state_key(self._alias, change_id)) or "")

    def receipt(self, change_id: str) -> str:
        """Return the receipt of an erasure as JSON, or "" when there is none."""
        with redis_errors():
            return str(self._redis.get(receipt_key(self._alias, change_id)) or "")

    def set_receipt(self, change_id: str, receipt: str) -> None:
        """Store the receipt of an erasure for whoever requested it."""
        with redis_errors():
            self._redis.set(receipt_key(self._alias, change_id), receipt, ex=_STATE_TTL_S)

    def after(self, change_id: str) -> Iterator[tuple[str, DocumentChange]]:
        """Yield the present changes after an id, in order."""
        while True:
            with redis_errors():
                entries = self._redis.xrange(self._stream, min=f"({change_id}", count=_READ_COUNT)
            if not entries:
                return
            for key, entry in entries:
                change_id = str(key)
                yield change_id, change_of({str(name): str(value) for name, value in (entry or {}).items()})

    def wait(self, change_id: str, wait_s: float) -> bool:
        """Wait for a change after `change_id`, at most `wait_s` seconds, and return whether there is one."""
        with redis_errors():
            return bool(self._redis.xread({self._stream: change_id}, count=1, block=max(1, int(wait_s * 1000))))

    def trim(self, older_than_s: float) -> None:
        """Drop applied changes that are older than this."""
        before_ms = min(int((time.time() - older_than_s) * 1000), int(self.applied().partition("-")[0]))
        with redis_errors():
            self._redis.xtrim(self._stream, minid=before_ms, approximate=False)

    def waiting(self) -> int:
        """Return how many changes are not yet applied to the live collection."""
        return sum(1 for _ in self.after(self.applied()))

    def set_aside(self, change_id: str, change: DocumentChange, reason: str) -> None:
        """Keep a change that the store refused, with the reason, for `voxray ingest changes` to show."""
        entry = {**fields_of(change), "change_id": change_id, "reason": reason}
        with redis_errors():
            self._redis.xadd(self._set_aside, cast("dict[Any, Any]", entry), maxlen=_MAX_SET_ASIDE)

    def all_set_aside(self) -> list[SetAside]:
        """Return the changes that were set aside, oldest first."""
        with redis_errors():
            entries = self._redis.xrange(self._set_aside)
        found = [
            (str(key), {str(name): str(value) for name, value in (entry or {}).items()}) for key, entry in entries or ()
        ]
        return [SetAside(key, entry["change_id"], change_of(entry), entry["reason"]) for key, entry in found]

    def forget_set_aside(self, entries: Sequence[str]) -> int:
        """Delete changes that were set aside, and return how many there were."""
        with redis_errors():
            return int(self._redis.xdel(self._set_aside, *entries)) if entries else 0

    def forget_subject(self, tenant: str, subject: str) -> int:
        """Delete a person's changes, whether applied, pending or set aside, and return how many there were."""
        person = (tenant, subject)
        found = [key for key, change in self.after("0-0") if (change.tenant, change.subject) == person]
        aside = [each.entry for each in self.all_set_aside() if (each.change.tenant, each.change.subject) == person]
        with redis_errors():
            forgotten = int(self._redis.xdel(self._stream, *found)) if found else 0
        return forgotten + self.forget_set_aside(aside)

    def subjects(self, tenant: str) -> Iterator[str]:
        """Yield the subject of each of the tenant's changes, including those set aside. Subjects may repeat."""
        yield from (change.subject for _, change in self.after("0-0") if change.tenant == tenant)
        yield from (each.change.subject for each in self.all_set_aside() if each.change.tenant == tenant)
