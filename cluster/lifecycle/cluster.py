"""Brings a local cluster up and down.

The order of `up` is SQLite, Redis, Milvus, Ray head, weights, application; `down` goes in reverse. `up` may be called
at any time, since it checks what is running and does only the rest. Everything that changes the cluster holds the state
folder's lock.
"""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console

from cluster.catalog.progress import Progress
from cluster.config.environment import process_environment
from cluster.config.paths import resolve_paths
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.addresses import ClusterState
from cluster.lifecycle.layout import (
    Layout,
    find_orphans,
    folder_of,
    lay_out,
    serve_addresses,
    state_of,
    with_resolved_paths,
)
from cluster.lifecycle.lock import exclusive
from cluster.lifecycle.models import fetch_models
from cluster.lifecycle.ray.head import RAY_GRACE_S
from cluster.lifecycle.ray.serve_api import ServeApi
from cluster.lifecycle.rollouts.deployment import applications_of, read_progress
from cluster.lifecycle.rollouts.history import open_history
from cluster.lifecycle.rollouts.rollout import Rollout, wait_for_ingress
from cluster.lifecycle.source import source_fingerprint
from cluster.lifecycle.steps import Steps
from cluster.preflight.packages import require_engine_packages
from cluster.render.serve_config import IMPORT_PATH, fingerprint, render_serve_config
from cluster.services.errors import ServiceError
from cluster.services.external import probe_milvus, probe_redis, probe_sql
from cluster.services.folder import StateFolder
from cluster.services.processes import end, find, find_marked, sweep
from cluster.services.spec import ServiceSpec
from cluster.services.sqlite_file import prepare_sqlite
from cluster.services.supervisor import Supervisor

LOCK_WAIT_S = 900.0
INGRESS_WAIT_S = 30.0
SWEEP_GRACE_S = 2.0


def up(
    config: VoxrayConfig,
    console: Console | None = None,
    *,
    progress: Progress | None = None,
    before_deploy: Callable[[ClusterState], None] = lambda _state: None,
    import_path: str = IMPORT_PATH,
) -> ClusterState:
    """Bring the whole cluster up and return its addresses. Does nothing for parts that are already up.

    When interrupted (KeyboardInterrupt), it ends everything that this call has started. After a failed deployment the
    head is left running, so that its logs can be read; call `up` again after the repair, or `down`.

    Args:
        config: the tree.
        console: console on which the steps are shown; None shows nothing.
        progress: informed about downloads of weights.
        before_deploy: called when services, head and weights are ready, to start whatever needs only these.
        import_path: import path of the application's builder.

    Raises:
        ServiceError: something did not come up. The message gives the reason and names the log.
        ConfigError: the configuration cannot be run here.
        ExtraMissing: the packages of an engine are not installed.
    """
    require_engine_packages(config)
    bringup = _Bringup(with_resolved_paths(config), Steps(console or Console(quiet=True)))
    return bringup.run(lambda: bringup.everything(import_path, progress, before_deploy))


def services_only(config: VoxrayConfig, console: Console | None = None) -> ClusterState:
    """Start SQLite, Redis and Milvus without Ray, and return their addresses. `down` ends them."""
    bringup = _Bringup(with_resolved_paths(config), Steps(console or Console(quiet=True)))
    return bringup.run(bringup.services)


def attach(config: VoxrayConfig) -> ClusterState | None:
    """Return the addresses of the running cluster, or None if its head or a service is not running. Changes nothing."""
    folder = folder_of(config)
    supervisor = Supervisor(folder, is_observer=True)
    layout = lay_out(config, folder, supervisor)
    if any(find(supervisor.state.processes.get(spec.name)) is None for spec in layout.all):
        return None
    return state_of(config, folder, layout) if supervisor.state.deployed_hash else None


def down(config: VoxrayConfig, console: Console | None = None, *, drain: bool = False) -> list[int]:
    """End every process of the cluster and keep its data. Returns the pids that could not be ended, normally none.

    Args:
        config: the configuration, which names the state folder.
        console: console on which the steps are shown.
        drain: whether to let calls end first, for at most `ingress.drain_s`, instead of cutting them.
    """
    folder = folder_of(config)
    steps = Steps(console or Console(quiet=True))
    with exclusive(folder.run, "down", LOCK_WAIT_S, steps.tell), _uninterrupted():
        supervisor = Supervisor(folder)
        if drain:
            _drain(config, folder, supervisor, steps)
        supervisor.remember_deployed("")
        for name, grace_s in (("ray", RAY_GRACE_S), ("milvus", 10.0), ("redis", 10.0)):
            if name in supervisor.state.processes:
                with steps.step(name, "stopping") as step:
                    step.result = "stopped" if supervisor.stop(name, grace_s) else "was gone"
        left = find_marked(folder.run_id)
        survivors: list[int] = []
        if left:
            with steps.step("rest", f"ending {len(left)} processes") as step:
                survivors = sweep(folder.run_id, SWEEP_GRACE_S)
                step.result, step.detail = "ended", f"{len(left)} processes"
        shutil.rmtree(folder.ray, ignore_errors=True)
    return survivors


class _Bringup:
    """One run of `up`. It remembers what it has started, so that an interruption can undo exactly that."""

    def __init__(self, config: VoxrayConfig, steps: Steps) -> None:
        self._config = config
        self._steps = steps
        self._folder = folder_of(config)
        self._started: list[ServiceSpec] = []

    def run(self, work: Callable[[], ClusterState]) -> ClusterState:
        with exclusive(self._folder.run, "up", LOCK_WAIT_S, self._steps.tell):
            self._supervisor = Supervisor(self._folder)
            if self._supervisor.remark:
                self._steps.tell(self._supervisor.remark)
            self._end_orphans()
            try:
                return work()
            except KeyboardInterrupt:
                self._undo()
                raise

    def services(self) -> ClusterState:
        return self._start_services(lay_out(self._config, self._folder, self._supervisor, has_head=False))

    def everything(
        self, import_path: str, progress: Progress | None, before_deploy: Callable[[ClusterState], None]
    ) -> ClusterState:
        layout = lay_out(self._config, self._folder, self._supervisor)
        state = self._start_services(layout)
        assert layout.head is not None
        if self._ensure(layout.head, self._config.ray.start_timeout_s):
            self._supervisor.remember_deployed("")
        with self._steps.step("models", "") as step:
            models = fetch_models(self._config, progress)
            step.detail = ", ".join(models)
        addresses = serve_addresses(state, layout, models, resolve_paths(self._config).agents)
        rendered = render_serve_config(self._config, addresses, import_path=import_path, build=source_fingerprint())
        before_deploy(state)
        self._deploy(state, rendered)
        return state

    def _start_services(self, layout: Layout) -> ClusterState:
        services = self._config.services
        environment = process_environment()
        if services.redis.url:
            self._probe("redis", services.redis.url, lambda: probe_redis(services.redis, environment))
        if services.milvus.uri:
            self._probe("milvus", services.milvus.uri, lambda: probe_milvus(services.milvus, environment))
        if services.sql.url:
            self._probe("sql", "", lambda: probe_sql(services.sql.url))
        else:
            self._probe("sql", str(self._folder.sqlite_file), lambda: prepare_sqlite(self._folder.sqlite_file))
        for spec in layout.services:
            self._ensure(spec, services.start_timeout_s)
        return state_of(self._config, self._folder, layout)

    def _ensure(self, spec: ServiceSpec, timeout_s: float) -> bool:
        with self._steps.step(spec.name, "starting") as step:
            # Registered before the start, because an interruption may come at any moment during it.
            is_running = find(self._supervisor.state.processes.get(spec.name)) is not None
            if not is_running:
                self._started.append(spec)
            has_started = self._supervisor.ensure(spec, timeout_s)
            step.result, step.detail = ("started" if has_started else "running"), spec.address
        return has_started

    def _probe(self, name: str, address: str, probe: Callable[[], None]) -> None:
        with self._steps.step(name, "asking") as step:
            probe()
            step.result, step.detail = "answers", address

    def _deploy(self, state: ClusterState, rendered: dict[str, Any]) -> None:
        wanted = fingerprint(rendered)
        with ServeApi(state.dashboard_url, state.token()) as api, self._steps.step("application", "") as step:
            is_same = self._supervisor.state.deployed_hash == wanted
            if is_same and read_progress(api.status(), applications_of(rendered)).is_running:
                step.result = "running"
            else:
                self._supervisor.remember_deployed("")
                logs = self._folder.ray / "session_latest" / "logs"
                rollout = Rollout(api, logs, self._steps.console)
                rollout.submit_and_wait(rendered, self._config.ray.deploy_timeout_s)
                open_history(state.objects_url).add("up", rendered)
                step.result = "deployed"
            wait_for_ingress(state.http_url, INGRESS_WAIT_S)
            self._supervisor.remember_deployed(wanted)
            step.detail = state.ws_url

    def _end_orphans(self) -> None:
        records = self._supervisor.state.processes
        known = {process.pid for process in map(find, records.values()) if process is not None}
        orphans = find_orphans(self._folder, known)
        if orphans:
            self._steps.tell(f"ending {len(orphans)} processes that an earlier run left behind")
        for process in orphans:
            end(process, SWEEP_GRACE_S)

    def _undo(self) -> None:
        with _uninterrupted():
            self._steps.tell("interrupted: ending what was started")
            for spec in reversed(self._started):
                self._supervisor.stop(spec.name, spec.grace_s)
            # The head's children end with it, but some (such as vLLM's workers) may need the sweep.
            self._end_orphans()


def _drain(config: VoxrayConfig, folder: StateFolder, supervisor: Supervisor, steps: Steps) -> None:
    layout = lay_out(config, folder, supervisor)
    if layout.head is None or not supervisor.health(layout.head).is_ready:
        return
    state = state_of(config, folder, layout)
    api = ServeApi(state.dashboard_url, state.token())
    with steps.step("application", "draining"), suppress(ServiceError), api:
        api.delete()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM during the block, because a clean-up takes seconds and must not be left half done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
