"""What the policy must show: few misses, near the oracle's cost, and better than Ray's default on both."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from autoscaling.engine_profile import load_profiles
from autoscaling.machines import load_machines
from autoscaling.planning import PlanRequest, make_plan
from autoscaling.simulator.contenders import CallsContender, limits_for
from autoscaling.simulator.run import simulate
from autoscaling.simulator.scenario import Scenario, scenario_of
from autoscaling.simulator.traces import GENERATORS, poisson
from autoscaling.simulator.trial import contenders, try_policies
from cluster.cli.plan import engines_of, only_devices, planned_config

pytestmark = [pytest.mark.unit, pytest.mark.timeout(120)]
PEAK = 3000
# Ray's default keeps a fifth of each replica free; docs/scaling.md has its other targets.
RAY_TARGET = 0.8


@cache
def scenario(peak: int) -> Scenario:
    catalog = only_devices(load_machines(), "l40s")
    request = PlanRequest(peak, 800, engines_of(planned_config("nvidia", None)))
    return scenario_of(make_plan(request, load_profiles(), catalog), catalog)


@pytest.mark.parametrize("name", ["daily", "flash-crowd", "opening-hours"])
def test_policy_misses_one_percent_at_most_for_a_quarter_more_than_the_oracle_and_beats_rays_default(name: str) -> None:
    trace = GENERATORS[name](PEAK, np.random.default_rng(5), 24)
    models = scenario(PEAK)
    ours, rays = try_policies(trace, models, contenders(models, [RAY_TARGET])).rows()
    assert float(ours["missed_share"]) <= 0.01
    assert float(ours["times_oracle"]) <= 1.25
    assert float(ours["missed_share"]) < float(rays["missed_share"])
    assert float(ours["cost"]) < float(rays["cost"])


def test_hundred_thousand_calls_at_once_are_simulated_whole() -> None:
    trace = poisson(100_000, np.random.default_rng(1), hours=0.5)
    models = scenario(100_000)
    outcome = simulate(trace, models, CallsContender(limits_for(models)))
    assert outcome.peak_calls > 95_000
    assert outcome.calls > 1_000_000
