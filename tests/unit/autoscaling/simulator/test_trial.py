"""A trace against several policies: which they are, and the rows of the report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from autoscaling.simulator.contenders import FixedContender, Look
from autoscaling.simulator.scenario import Machine, Scenario, StageModel
from autoscaling.simulator.traces import Trace
from autoscaling.simulator.trial import contenders, try_policies

pytestmark = pytest.mark.unit
SCENARIO = Scenario(
    {"gpu": Machine("gpu", (1.0, 24e9, 8.0), 1.0, boot_s=100)},
    (StageModel("speech", "gpu", (0.4, 4e9, 1.0), 10, start_s=20),),
)


class Named:
    """A fleet for a fixed number of calls, under a name."""

    def __init__(self, name: str, calls: int) -> None:
        self.name, self._fleet = name, FixedContender(SCENARIO, calls)

    def decide(self, look: Look) -> Mapping[str, int]:
        return self._fleet.decide(look)


def trace_of(calls: int) -> Trace:
    return Trace("made", np.asarray([0] * 300 + [1] * calls, np.int64), np.full(calls, 60, np.int32))


def test_our_policy_comes_first_and_rays_once_for_each_target() -> None:
    found = contenders(SCENARIO, [0.7, 0.85], headroom=0.2)
    assert [policy.name for policy in found] == ["calls", "ray default at 70%", "ray default at 85%"]


def test_each_policy_is_shown_to_its_end_and_has_a_row_beside_the_oracle() -> None:
    shown: list[tuple[str, float]] = []
    policies = [Named("large", 100), Named("small", 10)]
    trial = try_policies(trace_of(600), SCENARIO, policies, lambda name, share: shown.append((name, share)))
    assert [name for name, share in shown if share == 1.0][-1] == "small"
    assert ("large", 1.0) in shown
    large, small = trial.rows()
    assert (large["policy"], large["calls"], large["missed_share"]) == ("large", 600, 0.0)
    assert float(small["missed_share"]) > 0.0
    assert float(large["times_oracle"]) >= 1.0
    assert large["cost_of_oracle"] == small["cost_of_oracle"] == round(trial.oracle.cost, 2)
    assert float(large["cost"]) > float(small["cost"])
