"""A board shared by the policies of several Serve applications, where pools post what they see and read decisions.

Serve's controller runs all policies in one process, but each application has its own. The pools post their stages here,
and the gateways' policy, the only one that knows the calls, decides for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from autoscaling.policy.application import StageShare
from autoscaling.policy.stages import StageSnapshot

# Serve calls a policy ten times a second, so a pool that has been silent for this long is gone.
FRESH_S = 10.0


@dataclass(frozen=True, slots=True)
class PostedStage:
    """What a pool's policy posts about its stage, with the bounds that Serve has now."""

    snapshot: StageSnapshot
    share: StageShare
    target: int


@dataclass(slots=True)
class Board:
    """The posted stages and the decided numbers of replicas, with their times."""

    _stages: dict[str, PostedStage] = field(default_factory=dict)
    _decided: dict[str, tuple[float, int]] = field(default_factory=dict)

    def post(self, name: str, stage: PostedStage) -> None:
        """Post what is seen of a stage now."""
        self._stages[name] = stage

    def stages(self, now_s: float) -> dict[str, PostedStage]:
        """Return the recently posted stages, and forget the others."""
        fresh = {name: stage for name, stage in self._stages.items() if now_s - stage.snapshot.now_s <= FRESH_S}
        self._stages = dict(fresh)
        return fresh

    def decide(self, replicas: Mapping[str, int], now_s: float) -> None:
        """Record how many replicas each stage should have."""
        self._decided.update({name: (now_s, count) for name, count in replicas.items()})

    def decided(self, name: str, now_s: float) -> int | None:
        """Return the decision for a stage, or None without a recent one."""
        at_s, count = self._decided.get(name, (float("-inf"), 0))
        return count if now_s - at_s <= FRESH_S else None


_BOARD = Board()


def board() -> Board:
    """Return the board of this process."""
    return _BOARD
