"""Tests several policies on a trace, and reports their outcomes together with the oracle's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from autoscaling.simulator.contenders import (
    CallsContender,
    Contender,
    RayDefaultContender,
    RayDefaults,
    limits_for,
)
from autoscaling.simulator.oracle import OracleCost, oracle_cost
from autoscaling.simulator.run import Outcome, simulate
from autoscaling.simulator.scenario import Scenario
from autoscaling.simulator.traces import Trace

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """The outcomes on one trace, and the oracle's cost."""

    trace: Trace
    scenario: Scenario
    oracle: OracleCost
    outcomes: tuple[Outcome, ...]

    def rows(self) -> list[dict[str, float | str | int]]:
        """Return a report row for each policy."""
        return [
            {
                "trace": outcome.trace,
                "policy": outcome.policy,
                "calls": outcome.calls,
                "peak_calls": outcome.peak_calls,
                "refused_share": round(outcome.refused / max(outcome.calls, 1), 6),
                "late_share": round(outcome.late / max(outcome.calls, 1), 6),
                "missed_share": round(outcome.missed_share, 6),
                "cost": round(outcome.cost, 2),
                "cost_of_oracle": round(self.oracle.cost, 2),
                "times_oracle": round(outcome.cost / self.oracle.cost, 4),
                "accelerator_hours": round(outcome.accelerator_hours, 1),
                "ordered_machines": outcome.ordered_machines,
            }
            for outcome in self.outcomes
        ]


def contenders(scenario: Scenario, ray_targets: Sequence[float], **limits: float) -> list[Contender]:
    """Return our policy with its limits changed, and Ray's default at each target share."""
    rays = [
        RayDefaultContender(scenario, RayDefaults(target_share=share), f"ray default at {share:.0%}")
        for share in ray_targets
    ]
    return [CallsContender(limits_for(scenario, **limits)), *rays]


def try_policies(
    trace: Trace, scenario: Scenario, policies: Sequence[Contender], on_progress: Progress | None = None
) -> Trial:
    """Simulate a trace with each policy, one after the other."""
    outcomes = []
    for policy in policies:
        name = policy.name

        def show(share: float, name: str = name) -> None:
            if on_progress:
                on_progress(name, share)

        outcomes.append(simulate(trace, scenario, policy, show))
        show(1.0)
    return Trial(trace, scenario, oracle_cost(trace, scenario), tuple(outcomes))
