"""Applies live updates to the live version in order, as they arrive.

    python -m ingest_jobs.knowledge.operate.follow --milvus URI --alias NAME --model-dir DIR --redis URL --objects URL

Only one follower works on a collection, and others wait for it to end. Changes that are in the stream when it starts
are applied first. A change that the store will never accept is set aside with the reason, and the next one is applied.
While a store is unreachable the follower waits, however long.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace

from rich.console import Console

from deployments.stores.change_log import ChangeLog, DocumentChange
from ingest_jobs.knowledge.exits import exit_code
from ingest_jobs.knowledge.operate.erasure import erase
from ingest_jobs.knowledge.quiet import quiet_libraries
from ingest_jobs.knowledge.read.dataset import Dataset
from ingest_jobs.knowledge.read.documents import Unreadable
from ingest_jobs.knowledge.run.job import ReindexRequest, add_store_arguments, open_stores, plan_of, request_of
from ingest_jobs.knowledge.run.pipeline import Encoder, JobPlan, patiently
from ingest_jobs.knowledge.run.updates import ChangeWriter, dataset_for
from ingest_jobs.knowledge.store.exclusive import exclusive
from ingest_jobs.knowledge.store.expiry import delete_expired
from pipelines.errors import Component, ConfigError, EngineError, VoxrayError

_POLL_S = 1.0
_KEPT_S = 24 * 3600.0
_SWITCH_WAIT_S = 600.0
_FOLLOWER_WAIT_S = 30.0
_RETRY_S = 5.0


class Follower:
    """Reads the change log of one collection and applies it. Not thread-safe."""

    def __init__(
        self, request: ReindexRequest, encoder: Encoder | None = None, *, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._say = say
        self._plan = plan_of(request, Dataset())
        self._store, self._blobs, client = open_stores(request, self._plan)
        if client is None:
            raise ConfigError("live updates need Redis: give --redis")
        self._redis = client
        self._given_encoder = encoder
        self._encoders: dict[tuple[str, str], Encoder] = {}
        self.log = ChangeLog(client, self._plan.alias)
        self._unsealed: set[str] = set()

    def run(self, stopped: threading.Event) -> None:
        """Apply changes as they arrive until `stopped` is set."""
        while not stopped.is_set():
            try:
                with exclusive(f"follow:{self._plan.alias}", client=self._redis, folder=None, wait_s=_FOLLOWER_WAIT_S):
                    while not stopped.is_set():
                        self._step(stopped)
            except EngineError as error:
                if not error.retryable:
                    raise
                self._say(f"{error}; trying again")
                stopped.wait(_RETRY_S)

    def _step(self, stopped: threading.Event) -> None:
        if self.log.wait(self.log.applied(), _POLL_S):
            if self.apply_waiting() == 0:
                stopped.wait(_POLL_S)  # no version is live yet
        elif self._unsealed:
            self._seal()
            self.log.trim(_KEPT_S)

    def apply_waiting(self) -> int:
        """Apply the changes now in the log to the live version, and return how many there were."""
        applied = 0
        with exclusive(f"switch:{self._plan.alias}", client=self._redis, folder=None, wait_s=_SWITCH_WAIT_S):
            live = self._store.live_collection()
            if live is None:
                return 0  # the first job will replay them
            for change_id, change in self.log.after(self.log.applied()):
                self.log.set_applied(change_id, self._became(live, change_id, change))
                self._unsealed.add(change.tenant)
                applied += 1
        return applied

    def close(self) -> None:
        """Close the connections."""
        self._store.close()
        self._redis.close()

    def _became(self, live: str, change_id: str, change: DocumentChange) -> str:
        """Apply a change and return its resulting state.

        Raises:
            EngineError: a store stays unreachable (retryable). The change remains the next one to apply.
        """
        try:
            return self._erase(change_id, change) if change.kind == "erase" else self._apply(live, change)
        except Unreadable as reason:
            return f"refused: {reason}"
        except EngineError as error:
            if error.retryable:
                raise
            return self._second_try(live, change_id, change)

    def _second_try(self, live: str, change_id: str, change: DocumentChange) -> str:
        """Retry a refused change once the version is known to work, and set it aside if it is refused again."""
        try:
            # A restarted store has released its collections and refuses everything until they are loaded.
            self._store.load(live)
            self._store.rows.total(live)
        except EngineError as error:
            raise EngineError(Component.INGEST, f"{live} cannot be used: {error}", retryable=True) from error
        try:
            return self._erase(change_id, change) if change.kind == "erase" else self._apply(live, change)
        except EngineError as error:
            if error.retryable:
                raise
            # A change that the store will never accept must not block all later ones.
            self.log.set_aside(change_id, change, str(error))
            self._say(f"change {change_id} is set aside: {error}")
            return f"set aside: {error}"

    def _apply(self, live: str, change: DocumentChange) -> str:
        dataset = dataset_for(self._blobs, self._plan.alias, change)
        plan = replace(self._plan, dataset=dataset)
        writer = ChangeWriter(plan, self._store, self._given_encoder or self._encoder(plan), self._blobs)
        patiently(lambda: writer.apply(live, change, dataset))
        return "applied"

    def _encoder(self, plan: JobPlan) -> Encoder:
        """Return the encoder that made the tenant's rows, which is known once the tenant's first job has ended."""
        rule = plan.dataset.embedding
        key = (rule.engine, rule.model)
        if key not in self._encoders:
            self._encoders[key] = plan.open_encoder()
        return self._encoders[key]

    def _erase(self, change_id: str, change: DocumentChange) -> str:
        receipt = erase([self._store], self._blobs, [self.log], change.tenant, change.subject)
        self.log.set_receipt(change_id, json.dumps(asdict(receipt)))
        return "applied"

    def _seal(self) -> None:
        """Flush the rows and delete expired ones while the follower is idle."""
        if live := self._store.live_collection():
            for tenant in self._unsealed:
                delete_expired(self._store, tenant)
                self._store.seal(live, tenant)
        self._unsealed.clear()


def main(arguments: list[str] | None = None) -> int:
    """Run the command until SIGTERM or SIGINT and return its exit code."""
    quiet_libraries()
    parser = argparse.ArgumentParser(
        prog="python -m ingest_jobs.knowledge.operate.follow", description=(__doc__ or "").split("\n")[0]
    )
    add_store_arguments(parser)
    request = request_of(parser.parse_args(sys.argv[1:] if arguments is None else arguments))
    console = Console(highlight=False)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    try:
        follower = Follower(request, say=lambda text: console.print(text, markup=False, soft_wrap=True))
        console.print(f"following the changes of {request.alias}", markup=False)
        try:
            follower.run(stopped)
        finally:
            follower.close()
    except VoxrayError as error:
        Console(stderr=True, highlight=False).print(f"live updates ended: {error}", markup=False, soft_wrap=True)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
