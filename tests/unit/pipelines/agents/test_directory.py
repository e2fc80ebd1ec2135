from __future__ import annotations

import pytest

from pipelines.agents.directory import UnknownAgentError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "known", "message"),
    [
        ("billing", ("sales", "support"), "There is no agent 'billing'; agents: sales, support."),
        ("", ("sales",), "The call names no agent, and none is the default; agents: sales."),
        ("billing", (), "There is no agent 'billing'; agents: none."),
    ],
)
def test_who_asks_for_an_unknown_agent_reads_which_there_are(name: str, known: tuple[str, ...], message: str) -> None:
    error = UnknownAgentError(name, known)
    assert str(error) == message
    assert (error.name, error.known) == (name, known)
