"""Preflight: sound configurations pass, and each seeded mistake is found, explained, and alone."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cluster.config.loading import load_config
from cluster.config.pools import ReplicaConfig
from cluster.config.schema import VoxrayConfig
from cluster.config.topology import NvidiaPoolConfig
from cluster.preflight import Finding, inspect, refuse
from cluster.preflight.check import RULES
from cluster.preflight.machines import machines_for
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit
HERE = Path(__file__).parent
OPERATOR = HERE.parent / "render" / "operator.yaml"
SECRETS = {
    "VOXRAY_API_KEY": "clients-key-0123456789",
    "VOXRAY_REDIS_PASSWORD": "redis-password-0123456789",
    "VOXRAY_MILVUS_TOKEN": "milvus-token-0123456789",
    "VOXRAY_SQL_PASSWORD": "sql-password-0123456789",
}
TWO_KINDS = {
    "pools__language_model__neuron__engine": "neuron",
    "pools__language_model__neuron__replicas__num_cpus": "4",
    "pools__language_model__neuron__replicas__neuron_cores": "2",
    "topology__neuron__max_nodes": "4",
}

WHOLE_UTTERANCES = {
    "pools__transcriber__default__engine": "whisper-ct2",
    "pools__transcriber__default__model": "whisper-large-v3-turbo",
}

# What is changed in a sound configuration, and the one rule that finds it.
SEEDS: list[tuple[str, dict[str, str]]] = [
    ("ping", {"topology__balancer__client_ping_s": "400"}),
    ("tls-idle", {"topology__balancer__idle_timeout_s": "3600"}),
    ("gateway-idle", {"gateway__idle_timeout_s": "4000"}),
    ("drain", {"ingress__drain_s": "600"}),
    ("deregistration", {"topology__balancer__deregistration_s": "300"}),
    ("deregistration", {"ingress__longest_call_s": "7200", "ingress__drain_s": "7200"}),
    ("pod-grace", {"topology__pods__termination_grace_s": "60"}),
    ("cluster-deletion", {"topology__pods__cluster_deletion_delay_s": "60"}),
    ("no-pool", {"topology__nvidia__max_nodes": "0"}),
    ("replica-size", {"pools__language_model__default__replicas__num_gpus": "2"}),
    ("replica-size", {"gateway__replicas__num_cpus": "8", "gateway__replicas__max_replicas": "2"}),
    ("too-few-nodes", {"topology__nvidia__max_nodes": "4"}),
    (
        "no-room-to-roll",
        {
            "topology__nvidia__max_nodes": "2",
            "pools__language_model__default__replicas__max_replicas": "1",
            "pools__transcriber__default__replicas__max_replicas": "1",
            "pools__retriever__default__replicas__max_replicas": "1",
            "pools__synthesizer__default__replicas__max_replicas": "1",
        },
    ),
    ("gpu-memory", {"topology__nvidia__gpu_memory_gib": "16"}),
    ("gpu-memory", {"pools__retriever__default__replicas__num_gpus": "0.05"}),
    ("neuron-cores", {**TWO_KINDS, "pools__language_model__neuron__replicas__neuron_cores": "1"}),
    ("neuron-buckets", {**TWO_KINDS, "pools__language_model__neuron__buckets": "[512, 1024]"}),
    ("spot", {"topology__gateway__is_spot": "true"}),
    ("connections", {"gateway__max_calls": "1000", "gateway__replicas__max_ongoing_requests": "1000"}),
    ("port-clash", {"ingress__port": "30500"}),
    ("no-host", {"services__milvus__uri": "https:///knowledge"}),
    ("loopback", {"services__redis__url": "rediss://127.0.0.1:6379/0"}),
    ("same-address", {"services__milvus__uri": "https://redis.internal:6379"}),
    ("nobody-let-in", {"topology__network__client_cidrs": "[]"}),
    ("range", {"topology__network__service_cidrs": "[10.30.0.0/40]"}),
    ("public-range", {"topology__network__client_cidrs": "[0.0.0.0/0]"}),
    ("certificate", {"topology__balancer__node_port": "0", "topology__balancer__certificate_arn": ""}),
    ("node-port", {"topology__balancer__node_port": "8000"}),
    ("open-service", {"services__redis__password_env": ""}),
    ("unknown-model", {"pools__synthesizer__default__model": "no-such-voice"}),
    ("wrong-kind", {"pools__transcriber__default__model": "bge-large-en-v1.5"}),
    ("no-hash", {"pools__language_model__default__model": "never-seen"}),
    ("outside-source", {"pools__language_model__default__model": "gated-elsewhere"}),
    ("artifacts", {**TWO_KINDS, "pools__language_model__neuron__artifacts_url": "/srv/neuron"}),
    ("rehearsal", {**TWO_KINDS, "pools__language_model__neuron__device": "cpu"}),
    ("image", {"topology__image_tag": "latest"}),
    ("image", {"topology__image_repository": ""}),
    ("utterance", {**WHOLE_UTTERANCES, "turn__max_utterance_s": "150"}),
    ("recognizer", {"pools__transcriber__default__model": "whisper-large-v3-turbo"}),
    ("recognizer", {**WHOLE_UTTERANCES, "pools__transcriber__default__model": "nemotron-speech-streaming-en-0.6b"}),
    ("chunk", {"pools__transcriber__default__chunk_ms": "240"}),
]


def sound(**changes: str) -> VoxrayConfig:
    """Return a production configuration without a fault, but for `changes`."""
    variables = {"VOXRAY__PATHS__CATALOG": str(HERE / "catalog.yaml")}
    variables |= {f"VOXRAY__{key.upper()}": value for key, value in changes.items()}
    return load_config("nvidia", OPERATOR, variables)


def rules_of(findings: list[Finding]) -> set[str]:
    return {finding.rule for finding in findings}


def test_sound_configurations_pass(tmp_path: Path) -> None:
    assert inspect(sound(), SECRETS, is_here=False) == []
    assert inspect(sound(**TWO_KINDS), SECRETS, is_here=False) == []
    for profile in ("embedded", "scripted"):
        assert inspect(load_config(profile, None, {}), {}, is_here=True) == []


def test_at_least_twenty_mistakes_are_seeded_and_every_rule_has_one() -> None:
    elsewhere = {"port-taken", "secret-missing", "weak-key", "shared-secret", "packages"}  # tested by themselves below
    assert len({rule for rule, _ in SEEDS} | elsewhere) >= len(RULES)
    assert len(SEEDS) >= 20


@pytest.mark.parametrize(("rule", "changes"), SEEDS, ids=[f"{rule}-{at}" for at, (rule, _) in enumerate(SEEDS)])
def test_seeded_mistake_is_found_alone_and_explained(rule: str, changes: dict[str, str]) -> None:
    findings = inspect(sound(**changes), SECRETS, is_here=False)
    assert rules_of(findings) == {rule}
    for finding in findings:
        assert finding.fix
        assert finding.consequence
    with pytest.raises(ConfigError, match=rf"{rule}: .*Fix: "):
        refuse(findings)


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_missing_secret_is_found_on_the_machine_that_needs_it(name: str) -> None:
    without = {key: value for key, value in SECRETS.items() if key != name}
    findings = inspect(sound(), without, is_here=True)
    assert rules_of(findings) == {"secret-missing"}
    assert name in str(findings[0])
    assert inspect(sound(), without, is_here=False) == []


def test_weak_and_shared_secrets_are_found_and_not_shown() -> None:
    findings = inspect(sound(), {**SECRETS, "VOXRAY_API_KEY": "hunter2"}, is_here=True)
    assert rules_of(findings) == {"weak-key"}
    assert "hunter2" not in str(findings[0])
    shared = {**SECRETS, "VOXRAY_SQL_PASSWORD": SECRETS["VOXRAY_REDIS_PASSWORD"]}
    findings = inspect(sound(), shared, is_here=True)
    assert rules_of(findings) == {"shared-secret"}
    assert SECRETS["VOXRAY_REDIS_PASSWORD"] not in str(findings[0])


def test_taken_port_of_a_local_cluster_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        config = load_config("scripted", None, {"VOXRAY__RAY__DASHBOARD_PORT": port})
        assert rules_of(inspect(config, {}, is_here=True)) == {"port-taken"}


def test_packages_of_an_engine_are_missed_where_it_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.preflight.packages.missing_packages", lambda *_extras: ["nemo-toolkit"])
    findings = inspect(sound(), SECRETS, is_here=True)
    assert rules_of(findings) == {"packages"}
    assert "pools.transcriber.default.engine: nemo" in findings[0].problem
    assert "make develop" in findings[0].fix
    assert inspect(sound(), SECRETS, is_here=False) == []
    assert inspect(load_config("embedded", None, {}), {}, is_here=True) == []


def test_refusal_names_every_finding() -> None:
    findings = inspect(sound(ingress__drain_s="600", topology__image_tag=""), SECRETS, is_here=False)
    with pytest.raises(ConfigError) as refusal:
        refuse(findings)
    assert len(findings) == str(refusal.value).count("Fix:") >= 2


@pytest.mark.parametrize(
    ("shares", "machines"),
    [([1.0], 1), ([0.4, 0.1, 0.25], 1), ([0.4, 0.6], 1), ([0.6, 0.6, 0.4, 0.4], 2), ([1.0, 0.4, 0.4, 0.3], 3)],
)
def test_shares_are_packed_on_as_few_gpus_as_they_need(shares: list[float], machines: int) -> None:
    replicas = [ReplicaConfig(num_cpus=0.5, num_gpus=share) for share in shares]
    assert machines_for(replicas, NvidiaPoolConfig()) == machines
