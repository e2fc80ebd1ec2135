"""Agents as files: what they may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.config.agents import agent_of, default_agent, read_agent, read_agents
from cluster.config.loading import load_config
from cluster.config.paths import SAMPLE_AGENTS
from pipelines.agents.directory import UnknownAgentError
from pipelines.errors import Component, ConfigError

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("no_voxray_variables")]


def written(folder: Path, text: str, name: str = "acme.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_smallest_file_is_a_whole_agent(tmp_path: Path) -> None:
    agent = read_agent(written(tmp_path, "company: Acme"))
    assert (agent.name, agent.company, agent.tenant, agent.language) == ("acme", "Acme", "default", "en")
    assert agent.greeting == "Hello, this is Acme. How can I help you?"
    assert "Acme" in agent.instructions
    assert agent.pools == {}


def test_pools_are_routes_by_stage(tmp_path: Path) -> None:
    agent = read_agent(written(tmp_path, "company: Acme\npools: {language_model: [large, small]}"))
    assert agent.pools == {Component.LANGUAGE_MODEL: ("large", "small")}


def test_another_text_is_another_version_and_the_same_text_the_same(tmp_path: Path) -> None:
    first = read_agent(written(tmp_path, "company: Acme"))
    assert read_agent(written(tmp_path, "# a remark\ncompany:   Acme\n")) == first
    assert read_agent(written(tmp_path, "company: Acme\nrefusal: I do not know.")).version != first.version


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("tenant: x", "acme.yaml", "company: field required"),
        ("company: Acme\nvoce: warm", "acme.yaml", "voce: there is no such key in an agent's file"),
        ("company: Acme\nknowledge: {min_similarity: 2}", "acme.yaml", "knowledge.min_similarity: "),
        ("company: Acme\nlanguage: fr", "acme.yaml", "language: "),
        ("company: [", "acme.yaml", "line 1"),
        ("company: Acme\ncompany: Bolt", "acme.yaml", "appears twice"),
        ("company: Acme", "Acme Inc.yaml", "an agent's name is lower-case letters"),
    ],
)
def test_wrong_file_is_refused_with_its_key(tmp_path: Path, text: str, name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_agent(written(tmp_path, text, name))
    assert expected in str(refusal.value)
    assert name in str(refusal.value)


def test_default_agent_is_the_named_the_one_called_default_or_the_only_one(tmp_path: Path) -> None:
    written(tmp_path, "company: Acme")
    assert default_agent(read_agents(tmp_path), "").name == "acme"
    written(tmp_path, "company: Bolt", "bolt.yaml")
    with pytest.raises(UnknownAgentError, match="names no agent, and none is the default; agents: acme, bolt"):
        default_agent(read_agents(tmp_path), "")
    assert default_agent(read_agents(tmp_path), "bolt").name == "bolt"
    written(tmp_path, "company: Core", "default.yaml")
    assert default_agent(read_agents(tmp_path), "").company == "Core"
    with pytest.raises(UnknownAgentError, match="There is no agent 'dolt'"):
        default_agent(read_agents(tmp_path), "dolt")


def test_folder_of_the_configuration_is_read_and_else_the_sample_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample = agent_of(load_config(None, None, {}))
    assert sample == read_agents(SAMPLE_AGENTS)[sample.name]
    (tmp_path / "agents").mkdir()
    written(tmp_path / "agents", "company: Acme")
    assert agent_of(load_config(None, None, {})).company == "Acme"
    other = tmp_path / "other"
    other.mkdir()
    written(other, "company: Bolt")
    assert agent_of(load_config(None, None, {"VOXRAY__PATHS__AGENTS": str(other)})).company == "Bolt"


def test_folder_without_agents_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no agent \(NAME\.yaml"):
        read_agents(tmp_path)
