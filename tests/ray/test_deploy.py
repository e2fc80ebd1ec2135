"""A running cluster is changed while a call is open: deploy, roll back, drain. One cluster, in an operator's order."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
import websockets.sync.client
from rich.console import Console
from websockets.exceptions import InvalidStatus

from cluster.config.loading import load_config
from cluster.config.schema import VoxrayConfig
from cluster.lifecycle import ClusterState, cluster, down, running, up
from cluster.lifecycle.ray.serve_api import ServeApi
from cluster.lifecycle.rollouts import operations
from cluster.render.changes import Changes
from cluster.services.errors import ServiceError
from pipelines.errors import ConfigError
from tests.ray.spoken_calls import SpokenCall

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]
CONSOLE = Console()
WAIT_S = 120
# A second pool of the language model, on NeuronCores that this machine only claims to have; two more for roll-outs.
# Two recognisers that stream, each linked to the gateway.
CHANGES = {
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__ENGINE": "scripted",
    "VOXRAY__POOLS__LANGUAGE_MODEL__NEURON__REPLICAS__NEURON_CORES": "2",
    "VOXRAY__ROUTES__LANGUAGE_MODEL": '["neuron", "default"]',
    "VOXRAY__RAY__NEURON_CORES": "4",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__ENGINE": "scripted-streaming",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__REPLICAS__MIN_REPLICAS": "2",
    "VOXRAY__POOLS__TRANSCRIBER__DEFAULT__REPLICAS__MAX_REPLICAS": "2",
    # A recogniser that was killed is back within seconds, on a busy machine within a minute.
    "VOXRAY__HEARING__LINK__WAIT_S": "120",
}
ANOTHER_NAME = {"pools__language_model__default__model": "another-name"}
BROKEN_VOICE = {
    "pools__synthesizer__default__engine": "piper",
    "pools__synthesizer__default__model": "smart-turn-v3.2",
}
EXTRA_POOL = {
    "pools__language_model__extra__engine": "scripted",
    "routes__language_model": '["extra", "default"]',
}


class OpenCall:
    """A client's socket; `ask` writes a question and waits for the whole answer."""

    def __init__(self, url: str) -> None:
        self._socket = websockets.sync.client.connect(url, proxy=None)
        self.first = self._next("session.created")

    def ask(self, text: str) -> str:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        self._send({"type": "conversation.item.create", "item": item})
        self._send({"type": "response.create", "response": {"output_modalities": ["text"]}})
        answer = self._next("response.done")["response"]
        assert answer["status"] == "completed", answer
        return str(answer["output"][0]["content"][0]["text"])

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> OpenCall:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _send(self, event: dict[str, Any]) -> None:
        self._socket.send(json.dumps(event))

    def _next(self, kind: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(self._socket.recv(timeout=60))
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _noise_24k() -> bytes:
    """Three seconds in which a scripted recogniser hears words."""
    noise = np.random.default_rng(7).normal(scale=4000, size=3 * 24_000)
    return noise.clip(-32000, 32000).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "state"
    agents_of(folder).mkdir()
    (agents_of(folder) / "default.yaml").write_text("company: Fernhollow Outfitters\n")
    return folder


def _config(state_folder: Path, **changes: str) -> VoxrayConfig:
    variables = {f"VOXRAY__{key.upper()}": value for key, value in changes.items()}
    here = {"VOXRAY_STATE": str(state_folder), "VOXRAY__PATHS__AGENTS": str(agents_of(state_folder))}
    return load_config("scripted", None, {**here, **CHANGES, **variables})


def agents_of(state_folder: Path) -> Path:
    return state_folder.parent / "agents"


@pytest.fixture(scope="module")
def state(state_folder: Path) -> Iterator[ClusterState]:
    # The code under test may be edited while the test runs; that would rightly replace every replica.
    with pytest.MonkeyPatch.context() as patch:
        for module in (cluster, running):
            patch.setattr(module, "source_fingerprint", lambda: "fixed")
        try:
            yield up(_config(state_folder), CONSOLE)
        finally:
            survivors = down(_config(state_folder))
    assert survivors == []


@pytest.fixture(scope="module")
def call(state: ClusterState) -> Iterator[OpenCall]:
    opened = OpenCall(state.ws_url)
    yield opened
    opened.close()


def _applications(state: ClusterState) -> dict[str, Any]:
    with ServeApi(state.dashboard_url, state.token()) as api:
        found: dict[str, Any] = api.status()["applications"]
    return found


def _running(state: ClusterState) -> dict[str, list[dict[str, Any]]]:
    """Return the running replicas of each deployment of all applications."""
    return {
        name: [replica for replica in deployment["replicas"] if replica["state"] == "RUNNING"]
        for application in _applications(state).values()
        for name, deployment in application["deployments"].items()
    }


def _replicas(state: ClusterState) -> dict[str, set[str]]:
    return {name: {replica["replica_id"] for replica in found} for name, found in _running(state).items()}


def _deployed(state: ClusterState) -> dict[str, Any]:
    return {name: application["deployed_app_config"] for name, application in _applications(state).items()}


def test_call_survives_a_deploy_that_changes_an_engine_only(
    state: ClusterState, state_folder: Path, call: OpenCall
) -> None:
    assert call.ask("What do you sell?")
    before, seen = _replicas(state), list[Changes]()
    config = _config(state_folder, **ANOTHER_NAME)

    made = operations.deploy(config, CONSOLE, show=lambda changes: not seen.append(changes))

    assert made is not None
    assert made.number == 2
    assert {(change.deployment, change.effect) for change in seen[0].deployments} == {
        ("LanguageModel", "replaced"),
        ("Gateway", "in place"),
    }
    assert seen[0].keeps_calls
    after = _replicas(state)
    assert {name for name in after if after[name] != before[name]} == {"LanguageModel"}
    assert call.ask("And what does it cost?")


def test_same_configuration_again_changes_nothing(state: ClusterState, state_folder: Path) -> None:
    before = _replicas(state)
    config = _config(state_folder, **ANOTHER_NAME)
    assert operations.deploy(config, CONSOLE) is None
    assert _replicas(state) == before


def test_preflight_and_a_needed_restart_refuse_before_anything_changes(state: ClusterState, state_folder: Path) -> None:
    before = _deployed(state)
    mistaken = _config(state_folder, turn__max_utterance_s="150", pools__transcriber__default__engine="scripted")
    with pytest.raises(ConfigError, match=r"utterance: .*Fix: turn\.max_utterance_s at most 131"):
        operations.deploy(mistaken, CONSOLE)
    with pytest.raises(ConfigError, match="http_options only when it starts"):
        operations.deploy(_config(state_folder, ingress__port="24987"), CONSOLE)
    assert _deployed(state) == before


def test_rollback_restores_the_former_configuration(state: ClusterState, state_folder: Path, call: OpenCall) -> None:
    first, second = operations.history(_config(state_folder), CONSOLE)
    made = operations.rollback(_config(state_folder), CONSOLE)
    assert made is not None
    assert made.what == "rollback to 1"
    assert made.rendered == first.rendered != second.rendered
    assert _deployed(state)["language-model-default"]["args"]["part"]["settings"]["model"] == "scripted"
    assert call.ask("Are you still there?")
    with pytest.raises(ServiceError, match="no deployment before number 3"):
        operations.rollback(_config(state_folder), CONSOLE)


def test_second_pool_runs_on_its_own_resource_and_calls_outlive_it(state: ClusterState, call: OpenCall) -> None:
    pool = _applications(state)["language-model-neuron"]["deployments"]["LanguageModel-neuron"]
    assert pool["deployment_config"]["ray_actor_options"]["resources"] == {"neuron_cores": 2}
    (running,) = [replica for replica in pool["replicas"] if replica["state"] == "RUNNING"]
    process = psutil.Process(running["pid"])
    process.kill()
    psutil.wait_procs([process], timeout=10)
    assert call.ask("Does the other pool answer?")


def test_spoken_call_loses_nothing_when_its_recognisers_are_killed_in_mid_utterance(state: ClusterState) -> None:
    (undisturbed,) = SpokenCall(state.ws_url, _noise_24k()).say().transcripts
    assert len(undisturbed.split()) > 10

    def kill() -> None:
        for replica in _running(state)["Transcriber"]:
            psutil.Process(replica["pid"]).kill()

    assert SpokenCall(state.ws_url, _noise_24k()).say(at_half=kill).transcripts == [undisturbed]
    metrics = httpx.get(f"{state.http_url}/metrics").text
    # Once from the recogniser that had the stream, and once more if the other one took it before it was killed too.
    assert re.search(r'voxray_recognizer_stream_events_total\{event="moved"\} [12]\.0', metrics)
    assert "voxray_recognizer_links_lost_total 2.0" in metrics


def test_deploy_that_does_not_come_up_is_undone(state: ClusterState, state_folder: Path, call: OpenCall) -> None:
    before = _deployed(state)
    # A voice whose weights are of something else.
    broken = _config(state_folder, **BROKEN_VOICE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "inspect", lambda *_args, **_options: [])
        with pytest.raises(ServiceError, match="number 3, which was active before, is active again"):
            operations.deploy(broken, CONSOLE)
    assert _deployed(state) == before
    assert call.ask("Did you notice?")


def test_pool_is_added_and_removed_while_calls_are_open(
    state: ClusterState, state_folder: Path, call: OpenCall
) -> None:
    before = _replicas(state)
    assert operations.deploy(_config(state_folder, **EXTRA_POOL), CONSOLE)
    assert {name for name, replicas in _replicas(state).items() if replicas != before.get(name)} == {
        "LanguageModel-extra"
    }
    assert call.ask("Is there more of it?")
    with OpenCall(state.ws_url) as late, ThreadPoolExecutor(1) as threads:
        assert late.ask("Does the new one answer?")
        removal = threads.submit(operations.deploy, _config(state_folder), CONSOLE)
        # The route is taken from new calls first; the pool stays for the call that holds it.
        wait_until(lambda: "extra" not in _offered(state))
        assert late.ask("Do you stay while I do?")
        assert not removal.done()
        assert "language-model-extra" in _applications(state)
        late.close()
        assert removal.result(timeout=120)
    wait_until(lambda: "language-model-extra" not in _applications(state))
    assert _replicas(state) == before
    assert call.ask("Are you still the same?")


def _offered(state: ClusterState) -> list[str]:
    (gateway,) = _deployed(state)["voxray"]["deployments"]
    offered: list[str] = gateway["user_config"]["offer"]["routes"]["language_model"]
    return offered


def test_file_of_an_agent_is_in_force_for_the_next_call_without_a_deploy(
    state: ClusterState, state_folder: Path
) -> None:
    before = _replicas(state)
    with pytest.raises(InvalidStatus) as refusal:
        OpenCall(f"{state.ws_url}?agent=night-desk")
    assert refusal.value.response.status_code == 404
    assert b"There is no agent 'night-desk'; agents: default." in refusal.value.response.body
    (agents_of(state_folder) / "night-desk.yaml").write_text("company: Another Company\n")

    def is_known() -> bool:
        listed = httpx.get(f"{state.http_url}/v1/models", trust_env=False).json()["data"]
        return "night-desk" in [model["id"] for model in listed]

    wait_until(is_known)
    with OpenCall(f"{state.ws_url}?agent=night-desk") as late:
        assert late.ask("Are you there at night?")
    assert _replicas(state) == before


def test_drain_refuses_new_calls_and_lets_the_present_ones_end(
    state: ClusterState, state_folder: Path, call: OpenCall
) -> None:
    counted: list[int] = []
    assert operations.drain(_config(state_folder), CONSOLE, timeout_s=0, show=counted.append) == 1
    with pytest.raises(InvalidStatus) as refusal:
        OpenCall(state.ws_url)
    assert refusal.value.response.status_code == 503
    assert refusal.value.response.headers["Retry-After"]
    assert call.ask("Am I still served?")
    call.close()
    assert operations.drain(_config(state_folder), CONSOLE, timeout_s=60) == 0


def test_deploy_lets_calls_in_again(state: ClusterState, state_folder: Path) -> None:
    made = operations.deploy(_config(state_folder), CONSOLE)
    assert made is not None
    again = OpenCall(state.ws_url)
    assert again.ask("Hello again?")
    again.close()
