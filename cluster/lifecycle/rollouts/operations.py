"""Changes a running cluster while calls are in progress: `deploy`, `drain` and `rollback`."""

from __future__ import annotations

import copy
import json
import secrets
import shlex
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console

from cluster.catalog.progress import Progress
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle.ray.jobs_api import JobsApi
from cluster.lifecycle.ray.serve_api import ServeApi
from cluster.lifecycle.rollouts.history import DeployedConfig
from cluster.lifecycle.rollouts.rollout import Rollout, wait_for_ingress
from cluster.lifecycle.running import RunningCluster, running_cluster
from cluster.preflight import inspect, refuse
from cluster.programs import Program
from cluster.render.changes import Changes, changes_between
from cluster.render.placement import APPLICATION, GATEWAY
from cluster.render.serve_config import IMPORT_PATH, fingerprint
from cluster.services.errors import ServiceError
from pipelines.errors import ConfigError

INGRESS_WAIT_S = 60.0
POLL_S = 1.0
# Keys in the parts that describe the cluster rather than the roll-out (`cluster.config.parts`).
_OF_THE_CLUSTER = ("addresses", "redis_url", "agents_folder")


def deploy(
    config: VoxrayConfig,
    console: Console,
    *,
    show: Callable[[Changes], bool] = lambda _: True,
    progress: Progress | None = None,
    import_path: str = IMPORT_PATH,
) -> DeployedConfig | None:
    """Apply a configuration to the running cluster. Returns its record, or None if there was nothing to do.

    Open calls continue as far as the change permits (`cluster.render.changes`). A removed pool gets no new calls and
    stays until the calls that hold it have ended. A deployment that fails is undone by restoring the previous
    configuration.

    Args:
        config: the tree.
        console: where progress is shown.
        show: called with what will happen. If it returns False, nothing is changed.
        progress: informed about downloads of weights.
        import_path: import path of the application's builder.

    Raises:
        ConfigError: the preflight refuses the configuration, or it needs a restart.
        ServiceError: the configuration did not come up. The message says which one is active now.
    """
    refuse(inspect(config, process_environment(), is_here=not config.ray.address, is_running=True))
    with (
        running_cluster(config, "deploy", console) as cluster,
        ServeApi(cluster.dashboard_url, cluster.token) as api,
    ):
        rendered = cluster.rendered(import_path, progress)
        current = cluster.history.last()
        if current is not None:
            in_force = _in_force(api, current.rendered)
            changes = changes_between(in_force, rendered)
            _refuse_restart(changes)
            if not show(changes) or changes.is_empty:
                return None
            if changes.leaving:
                _let_calls_leave(cluster, api, (in_force, rendered), changes.leaving, console)
        return _put_into_force(cluster, api, rendered, ("deploy", None), console)


def rollback(
    config: VoxrayConfig,
    console: Console,
    *,
    to: int | None = None,
    show: Callable[[Changes], bool] = lambda _: True,
) -> DeployedConfig | None:
    """Restore the previous configuration, or the one with the number `to`, and return the new record.

    Code, addresses of services and the ingress are not restored, because they belong to the cluster and not to a
    roll-out.

    Raises:
        ServiceError: there is nothing to go back to, or the configuration did not come up.
    """
    with (
        running_cluster(config, "rollback", console) as cluster,
        ServeApi(cluster.dashboard_url, cluster.token) as api,
    ):
        current = cluster.history.last()
        if current is None:
            raise ServiceError("history", "nothing was deployed here yet")
        present = current.rendered
        target = (
            cluster.history.get(to)
            if to is not None
            else cluster.history.before(current, lambda earlier: _with_cluster_of(earlier, present))
        )
        if target is None:
            raise ServiceError("history", f"there is no deployment before number {current.number} to go back to")
        rendered = _with_cluster_of(target.rendered, present)
        if not show(changes_between(_in_force(api, present), rendered)):
            return None
        return _put_into_force(cluster, api, rendered, (f"rollback to {target.number}", target.origin), console)


def drain(
    config: VoxrayConfig, console: Console, *, timeout_s: float, show: Callable[[int], None] = lambda _: None
) -> int:
    """Refuse new calls on all gateways, wait until the open ones have ended, and return how many are left.

    New calls get 503 with `Retry-After` before the handshake. `deploy` admits calls again.

    Args:
        config: the tree.
        console: where progress is shown.
        timeout_s: longest wait, in seconds.
        show: called with the number of open calls after each count.

    Raises:
        ServiceError: nothing was deployed, or the gateways cannot be asked.
    """
    with (
        running_cluster(config, "drain", console) as cluster,
        ServeApi(cluster.dashboard_url, cluster.token) as api,
    ):
        current = cluster.history.last()
        if current is None:
            raise ServiceError("history", "nothing was deployed here yet")
        drained = copy.deepcopy(current.rendered)
        _gateway_deployment(drained)["user_config"]["accepts_calls"] = False
        _submit(cluster, api, drained, console)
        cluster.remember(fingerprint(drained))
        return _wait_for_calls(cluster, timeout_s, show)


def history(config: VoxrayConfig, console: Console) -> list[DeployedConfig]:
    """Return all deployments, oldest first."""
    with running_cluster(config, "rollback", console) as cluster:
        return cluster.history.all()


def _put_into_force(
    cluster: RunningCluster,
    api: ServeApi,
    rendered: dict[str, Any],
    came: tuple[str, int | None],
    console: Console,
) -> DeployedConfig:
    what, origin = came
    current = cluster.history.last()
    try:
        _submit(cluster, api, rendered, console)
    except ServiceError as error:
        if current is None:
            raise
        _undo(cluster, api, current, error, console=console)
        raise ServiceError(
            error.service, f"{error}\nnumber {current.number}, which was active before, is active again"
        ) from error
    cluster.remember(fingerprint(rendered))
    return cluster.history.add(what, rendered, origin)


def _undo(
    cluster: RunningCluster, api: ServeApi, former: DeployedConfig, failure: ServiceError, *, console: Console
) -> None:
    try:
        _submit(cluster, api, former.rendered, console)
    except ServiceError as error:
        raise ServiceError(
            failure.service, f"{failure}\nnumber {former.number} was restored but does not come up either: {error}"
        ) from failure
    cluster.remember(fingerprint(former.rendered))


def _submit(cluster: RunningCluster, api: ServeApi, rendered: dict[str, Any], console: Console) -> None:
    # From here on, whatever happens, `voxray up` must not assume that the old configuration is active.
    cluster.remember("")
    Rollout(api, cluster.logs, console).submit_and_wait(rendered, cluster.config.ray.deploy_timeout_s)
    if cluster.http_url:
        wait_for_ingress(cluster.http_url, INGRESS_WAIT_S)


def _refuse_restart(changes: Changes) -> None:
    if changes.needs_restart:
        raise ConfigError(
            f"Serve takes {' and '.join(changes.needs_restart)} only when it starts: `voxray restart --drain`, or on a "
            "cluster of several machines a second cluster"
        )


def _in_force(api: ServeApi, deployed: dict[str, Any]) -> dict[str, Any]:
    """Return the active configuration: the last deployed one with what a drain has changed since."""
    application = api.status().get("applications", {}).get(APPLICATION, {}).get("deployed_app_config") or {}
    found = next((item for item in application.get("deployments", []) if item["name"] == GATEWAY), None)
    running = copy.deepcopy(deployed)
    if found is None:
        _gateway_application(running)["deployments"] = []
    else:
        _gateway_deployment(running)["user_config"] = found.get("user_config")
    return running


def _with_cluster_of(target: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """Return `target` adapted to the cluster that runs `current`: with its ports, its services and its code."""
    made = copy.deepcopy(target)
    for key in ("proxy_location", "http_options"):
        made[key] = current[key]
    now = {application["name"]: application["args"] for application in current["applications"]}
    for application in made["applications"]:
        # A pool that is not running now was on this cluster when it was, so its addresses are known.
        args = application["args"]
        present = now.get(application["name"], args)
        args["part"].update({key: present["part"][key] for key in _OF_THE_CLUSTER if key in args["part"]})
        if "build" in now[APPLICATION]:
            args["build"] = now[APPLICATION]["build"]
    return made


def _gateway_application(rendered: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in rendered["applications"] if item["name"] == APPLICATION)
    return found


def _gateway_deployment(rendered: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(
        item for item in _gateway_application(rendered)["deployments"] if item["name"] == GATEWAY
    )
    return found


def _let_calls_leave(
    cluster: RunningCluster,
    api: ServeApi,
    renders: tuple[dict[str, Any], dict[str, Any]],
    leaving: tuple[str, ...],
    console: Console,
) -> None:
    """Offer only the pools of the new configuration, and wait until no call holds a pool that is about to be removed.

    The new pools come up first, so that new calls have somewhere to go.
    """
    in_force, rendered = renders
    between = copy.deepcopy(rendered)
    old = {application["name"]: application for application in in_force["applications"]}
    between["applications"] += [copy.deepcopy(old[name]) for name in leaving]
    # The gateways themselves change with the rest after the wait, because replacing them now would cut it short.
    gateway = _gateway_application(between)
    settings = gateway["deployments"][0]["user_config"]
    gateway.update(copy.deepcopy(_gateway_application(in_force)))
    gateway["deployments"][0]["user_config"] = settings
    _submit(cluster, api, between, console)
    longest_s = float(cluster.config.ingress.longest_call_s)

    def show(calls: int) -> None:
        if calls:
            console.print(f"  {calls} calls hold {', '.join(leaving)}, which goes when they have ended")

    _wait_for_calls(cluster, longest_s, show, leaving)


def _wait_for_calls(
    cluster: RunningCluster, timeout_s: float, show: Callable[[int], None], pools: tuple[str, ...] = ()
) -> int:
    """Wait until no call is open, or none that holds one of these pools (applications). Returns how many are left."""
    python = sys.executable if cluster.local else "python"
    command = shlex.join(Program.DRAIN_WATCH.command(f"{timeout_s:g}", *pools, python=python))
    calls = -1
    with JobsApi(cluster.dashboard_url, cluster.token) as jobs:
        job = f"voxray-drain-{secrets.token_hex(6)}"
        jobs.submit(job, command, cluster.job_variables, {"what": "drain"})
        try:
            while True:
                state = jobs.state(job)
                printed = jobs.logs(job)
                counts = [json.loads(line)["calls"] for line in printed.splitlines() if line.startswith('{"calls"')]
                if counts:
                    calls = counts[-1]
                    show(calls)
                if state is None or state.has_ended:
                    break
                time.sleep(POLL_S)  # noqa: TID251 -- Ray has no way to wait for a job by REST
        except BaseException:
            jobs.stop(job)
            raise
    if calls < 0:
        raise ServiceError("drain", f"the gateways could not be asked for their calls:\n{printed[-2000:]}")
    return calls
