"""What a roll-out takes for a failure, and what it waits out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.lifecycle.rollouts import rollout
from cluster.lifecycle.rollouts.rollout import Rollout
from cluster.services.errors import ServiceError

pytestmark = pytest.mark.unit


class Serve:
    """Serve's REST API as a list of states of the application, one a look; the last one stays."""

    def __init__(self, *states: str) -> None:
        self._states = list(states)

    def deploy(self, rendered: Any) -> None:
        pass

    def status(self) -> dict[str, Any]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        healthy = "HEALTHY" if state == "RUNNING" else state
        replicas = [{"state": "RUNNING"}] if state == "RUNNING" else []
        engine = {"status": healthy, "message": "a reason", "replicas": replicas, "target_num_replicas": 1}
        return {"applications": {"voxray": {"status": state, "deployments": {"Engine": engine}}}}


RENDERED = {"applications": [{"name": "voxray"}]}


def roll(monkeypatch: pytest.MonkeyPatch, *states: str, patience_s: float = 60.0) -> str:
    monkeypatch.setattr(rollout, "POLL_S", 0.0)
    monkeypatch.setattr(rollout, "UNHEALTHY_PATIENCE_S", patience_s)
    serve: Any = Serve(*states)
    return Rollout(serve, Path(), Console(quiet=True)).submit_and_wait(RENDERED, 10.0).state


def test_replica_that_died_meanwhile_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert roll(monkeypatch, "UNHEALTHY", "UNHEALTHY", "DEPLOYING", "RUNNING") == "RUNNING"


def test_application_that_stays_unhealthy_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="Engine: a reason"):
        roll(monkeypatch, "UNHEALTHY", patience_s=0.0)


def test_deployment_that_failed_is_a_failure_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceError, match="Engine: a reason"):
        roll(monkeypatch, "DEPLOYING", "DEPLOY_FAILED", "RUNNING")
