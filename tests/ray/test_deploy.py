"""A running cluster is changed while a call is open: deploy, roll back, drain. One cluster, in an operator's order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
# A second pool of the language model, on NeuronCores that this machine only claims to have; two more for roll-outs.
# Two recognisers that stream, each linked to the gateway.
CHANGES = {
    "VOXRAY__LANGUAGE_MODEL__NEURON__IS_SECOND_POOL": "true",
    "VOXRAY__RAY__NEURON_CORES": "4",
    "VOXRAY__TRANSCRIBER__ENGINE": "scripted-streaming",
    "VOXRAY__TRANSCRIBER__REPLICAS__MIN_REPLICAS": "2",
    "VOXRAY__TRANSCRIBER__REPLICAS__MAX_REPLICAS": "2",
    # A recogniser that was killed is back within seconds, on a busy machine within a minute.
    "VOXRAY__TRANSCRIBER__LINK__WAIT_S": "120",
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

    def _send(self, event: dict[str, Any]) -> None:
        self._socket.send(json.dumps(event))

    def _next(self, kind: str) -> dict[str, Any]:
        while True:
            event: dict[str, Any] = json.loads(self._socket.recv(timeout=60))
            assert event["type"] != "error", event
            if event["type"] == kind:
                return event


def _noise_24k() -> bytes:
    """Three seconds in which a scripted recogniser hears words."""
    noise = np.random.default_rng(7).normal(scale=4000, size=3 * 24_000)
    return noise.clip(-32000, 32000).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deploy") / "state"


def _config(state_folder: Path, **changes: str) -> VoxrayConfig:
    variables = {f"VOXRAY__{key.upper()}": value for key, value in changes.items()}
    return load_config("scripted", None, {"VOXRAY_STATE": str(state_folder), **CHANGES, **variables})


@pytest.fixture(scope="module")
def state(state_folder: Path) -> Iterator[ClusterState]:
    # The code under test may be edited while the test runs; that would rightly replace every replica.
    with pytest.MonkeyPatch.context() as patch:
        for module in (cluster, running):
            patch.setattr(module, "source_fingerprint", lambda: "fixed")
        yield up(_config(state_folder), CONSOLE)
    assert down(_config(state_folder)) == []


@pytest.fixture(scope="module")
def call(state: ClusterState) -> Iterator[OpenCall]:
    opened = OpenCall(state.ws_url)
    yield opened
    opened.close()


def _replicas(state: ClusterState) -> dict[str, set[str]]:
    with ServeApi(state.dashboard_url, state.token()) as api:
        found = api.status()["applications"]["voxray"]["deployments"]
    return {
        name: {replica["replica_id"] for replica in item["replicas"] if replica["state"] == "RUNNING"}
        for name, item in found.items()
    }


def _deployed(state: ClusterState) -> dict[str, Any]:
    with ServeApi(state.dashboard_url, state.token()) as api:
        deployments = api.status()["applications"]["voxray"]["deployed_app_config"]["deployments"]
    return {item["name"]: item for item in deployments}


def test_call_survives_a_deploy_that_changes_an_engine_only(
    state: ClusterState, state_folder: Path, call: OpenCall
) -> None:
    assert call.ask("What do you sell?")
    before, seen = _replicas(state), list[Changes]()
    config = _config(state_folder, language_model__max_num_seqs="3", language_model__model="another-name")

    made = operations.deploy(config, CONSOLE, show=lambda changes: not seen.append(changes))

    assert made is not None
    assert made.number == 2
    assert {(change.deployment, change.effect) for change in seen[0].deployments} == {
        ("LanguageModel", "replaced"),
        ("LanguageModelNeuron", "replaced"),
        ("Gateway", "in place"),
    }
    assert seen[0].keeps_calls
    after = _replicas(state)
    assert {name for name in after if after[name] != before[name]} == {"LanguageModel", "LanguageModelNeuron"}
    assert call.ask("And what does it cost?")
    late = OpenCall(state.ws_url.split("?")[0])
    assert late.first["session"]["model"] == "another-name"
    late.close()


def test_same_configuration_again_changes_nothing(state: ClusterState, state_folder: Path) -> None:
    before = _replicas(state)
    config = _config(state_folder, language_model__max_num_seqs="3", language_model__model="another-name")
    assert operations.deploy(config, CONSOLE) is None
    assert _replicas(state) == before


def test_preflight_and_a_needed_restart_refuse_before_anything_changes(state: ClusterState, state_folder: Path) -> None:
    before = _deployed(state)
    mistaken = _config(state_folder, turn__max_utterance_s="150", transcriber__engine="scripted")
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
    engine = _deployed(state)["LanguageModel"]["ray_actor_options"]["runtime_env"]["env_vars"]["VOXRAY_ENGINE"]
    assert json.loads(engine)["settings"]["max_num_seqs"] == 8
    assert call.ask("Are you still there?")
    with pytest.raises(ServiceError, match="no deployment before number 3"):
        operations.rollback(_config(state_folder), CONSOLE)


def test_second_pool_runs_on_its_own_resource_and_calls_outlive_it(state: ClusterState, call: OpenCall) -> None:
    with ServeApi(state.dashboard_url, state.token()) as api:
        pool = api.status()["applications"]["voxray"]["deployments"]["LanguageModelNeuron"]
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
        with ServeApi(state.dashboard_url, state.token()) as api:
            found = api.status()["applications"]["voxray"]["deployments"]["Transcriber"]["replicas"]
        for replica in found:
            psutil.Process(replica["pid"]).kill()

    assert SpokenCall(state.ws_url, _noise_24k()).say(at_half=kill).transcripts == [undisturbed]
    metrics = httpx.get(f"{state.http_url}/metrics").text
    # Once from the recogniser that had the stream, and once more if the other one took it before it was killed too.
    assert re.search(r'voxray_recognizer_stream_events_total\{event="moved"\} [12]\.0', metrics)
    assert "voxray_recognizer_links_lost_total 2.0" in metrics


def test_deploy_that_does_not_come_up_is_undone(state: ClusterState, state_folder: Path, call: OpenCall) -> None:
    before = _deployed(state)
    # A voice whose weights are of something else.
    broken = _config(state_folder, synthesizer__engine="piper", synthesizer__model="smart-turn-v3.2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "inspect", lambda *_args, **_options: [])
        with pytest.raises(ServiceError, match="number 3, which was in force before, is so again"):
            operations.deploy(broken, CONSOLE)
    assert _deployed(state) == before
    assert call.ask("Did you notice?")


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
