"""Agents whose files change under calls."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from deployments.stores import agent_files
from deployments.stores.agent_files import FileAgents
from pipelines.agents.directory import UnknownAgentError

pytestmark = pytest.mark.unit


def write(folder: Path, text: str, name: str = "acme") -> None:
    """Write a file as editors do: whole, and under another name first."""
    (folder / "half").write_text(text)
    os.replace(folder / "half", folder / f"{name}.yaml")


@pytest.fixture
def agents(tmp_path: Path) -> FileAgents:
    write(tmp_path, "company: Acme\ntenant: one")
    write(tmp_path, "company: Bolt\ntenant: two", "bolt")
    found = FileAgents(tmp_path, "acme")
    found.refresh()
    return found


def test_agent_is_found_by_its_name_and_the_default_without_one(agents: FileAgents) -> None:
    assert agents.find("bolt", tenant=None).company == "Bolt"
    assert agents.find("", tenant=None).company == "Acme"


def test_unknown_agent_is_an_error_that_lists_those_there_are(agents: FileAgents) -> None:
    with pytest.raises(UnknownAgentError, match="There is no agent 'crow'; agents: acme, bolt"):
        agents.find("crow", tenant=None)


def test_tenant_sees_its_own_agents_only(agents: FileAgents) -> None:
    assert agents.names(tenant="two") == ("bolt",)
    with pytest.raises(UnknownAgentError, match="agents: bolt"):
        agents.find("acme", tenant="two")


def test_changed_file_is_another_version_and_the_old_value_stays_as_it_was(agents: FileAgents, tmp_path: Path) -> None:
    before = agents.find("acme", tenant=None)
    write(tmp_path, "company: Acme\ntenant: one\nrefusal: I do not know.")
    agents.refresh()
    after = agents.find("acme", tenant=None)
    assert (before.refusal != after.refusal, before.version != after.version) == (True, True)


def test_broken_file_leaves_the_last_good_version_and_is_logged(
    agents: FileAgents, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "company: Acme\nvoce: warm")
    agents.refresh()
    assert agents.find("acme", tenant=None).company == "Acme"
    assert "its last good version stays in effect" in caplog.text
    caplog.clear()
    agents.refresh()
    assert not caplog.text  # said once, not every second


def test_removed_file_is_an_agent_that_there_is_not(agents: FileAgents, tmp_path: Path) -> None:
    (tmp_path / "bolt.yaml").unlink()
    agents.refresh()
    assert agents.names(tenant=None) == ("acme",)


async def test_change_is_seen_while_the_folder_is_watched(
    agents: FileAgents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_files, "LOOK_S", 0.01)
    async with agents.watched():
        write(tmp_path, "company: Crow", "crow")
        while "crow" not in agents.names(tenant=None):  # noqa: ASYNC110 - a folder gives no events
            await asyncio.sleep(0.01)  # noqa: TID251 - the same
        assert agents.find("crow", tenant=None).company == "Crow"
