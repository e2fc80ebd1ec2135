"""Live updates of single documents: a Redis stream for each collection, read from where it was last applied.

The stream is the truth until a change is in the live collection. One follower applies it in order and then moves the
position on; a reindex replays what lies behind the position at which it began into the version that it builds. So a
change may be applied twice, which changes nothing, and is never left out.
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
    """One document put or deleted, or a person erased. `text` is Markdown; dates are ISO 8601, "" for none.

    `subject` is the person that the document is about, or who is to be erased, as the data name them. `fields` holds
    those of the dataset as a JSON object, "" for none.
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
    """A change that the store would not take. `entry` names it among those, `change_id` in the stream it came from."""

    entry: str
    change_id: str
    change: DocumentChange
    reason: str


_FIELDS = tuple(field.name for field in fields(DocumentChange))
# A store that refuses everything must not fill Redis.
_MAX_SET_ASIDE = 10_000


def stream_key(alias: str) -> str:
    """Return the name of a collection's stream."""
    return f"voxray:knowledge:{alias}:changes"


def state_key(alias: str, change_id: str) -> str:
    """Return where the follower says what became of a change: "applied", "refused: REASON" or "set aside: REASON"."""
    return f"voxray:knowledge:{alias}:change:{change_id}"


def receipt_key(alias: str, change_id: str) -> str:
    """Return where the follower leaves the receipt of an erasure."""
    return f"voxray:knowledge:{alias}:receipt:{change_id}"


def set_aside_key(alias: str) -> str:
    """Return the stream of the changes that the store would not take, each with the reason."""
    return f"voxray:knowledge:{alias}:set-aside"


def fields_of(change: DocumentChange) -> dict[str, str]:
    """Return a change as fields of a stream entry."""
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
        """Write a change down; return its id. It is durable as far as Redis is."""
        with redis_errors():
            return str(self._redis.xadd(self._stream, cast("dict[Any, Any]", fields_of(change))))

    def applied(self) -> str:
        """Return the id up to which the live collection has the changes."""
        with redis_errors():
            return str(self._redis.get(self._position) or "0-0")

    def set_applied(self, change_id: str, state: str) -> None:
        """Note that the live collection has a change, or why it never will."""
        with redis_errors():
            self._redis.set(state_key(self._alias, change_id), state, ex=_STATE_TTL_S)
            self._redis.set(self._position, change_id)

    def state(self, change_id: str) -> str:
        """Return what became of a change, "" when nothing has yet."""
        with redis_errors():
            return str(self._redis.get(state_key(self._alias, change_id)) or "")

    def receipt(self, change_id: str) -> str:
        """Return the receipt of an erasure as JSON, "" when there is none."""
        with redis_errors():
            return str(self._redis.get(receipt_key(self._alias, change_id)) or "")

    def set_receipt(self, change_id: str, receipt: str) -> None:
        """Leave the receipt of an erasure for whoever asked for it."""
        with redis_errors():
            self._redis.set(receipt_key(self._alias, change_id), receipt, ex=_STATE_TTL_S)

    def after(self, change_id: str) -> Iterator[tuple[str, DocumentChange]]:
        """Yield the changes behind an id that are there now, in order."""
        while True:
            with redis_errors():
                entries = self._redis.xrange(self._stream, min=f"({change_id}", count=_READ_COUNT)
            if not entries:
                return
            for key, entry in entries:
                change_id = str(key)
                yield change_id, change_of({str(name): str(value) for name, value in (entry or {}).items()})

    def wait(self, change_id: str, wait_s: float) -> bool:
        """Wait until there is a change behind `change_id`, or `wait_s` are over; return whether there is one."""
        with redis_errors():
            return bool(self._redis.xread({self._stream: change_id}, count=1, block=max(1, int(wait_s * 1000))))

    def trim(self, older_than_s: float) -> None:
        """Drop changes that were applied and are older than that."""
        before_ms = min(int((time.time() - older_than_s) * 1000), int(self.applied().partition("-")[0]))
        with redis_errors():
            self._redis.xtrim(self._stream, minid=before_ms, approximate=False)

    def waiting(self) -> int:
        """Return how many changes the live collection does not have yet."""
        return sum(1 for _ in self.after(self.applied()))

    def set_aside(self, change_id: str, change: DocumentChange, reason: str) -> None:
        """Keep a change that the store would not take, with the reason, where `voxray ingest changes` shows it."""
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
        """Delete changes that were set aside; return how many there were."""
        with redis_errors():
            return int(self._redis.xdel(self._set_aside, *entries)) if entries else 0

    def forget_subject(self, tenant: str, subject: str) -> int:
        """Delete a person's changes, applied or not, and those set aside; return how many there were."""
        person = (tenant, subject)
        found = [key for key, change in self.after("0-0") if (change.tenant, change.subject) == person]
        aside = [each.entry for each in self.all_set_aside() if (each.change.tenant, each.change.subject) == person]
        with redis_errors():
            forgotten = int(self._redis.xdel(self._stream, *found)) if found else 0
        return forgotten + self.forget_set_aside(aside)

    def subjects(self, tenant: str) -> Iterator[str]:
        """Yield whom the tenant's changes are about, those set aside too, again for each change."""
        yield from (change.subject for _, change in self.after("0-0") if change.tenant == tenant)
        yield from (each.change.subject for each in self.all_set_aside() if each.change.tenant == tenant)
