"""Simulated machines and the replicas on them.

A replica is placed on the fullest machine with room, including booting ones; if there is none, a machine is ordered.
Replicas are stopped in the order of Ray Serve: first those that do not serve yet, then those on the machines with the
fewest replicas, newer before older (`deployment_scheduler._get_replicas_to_stop`). A machine without replicas is ended
after `idle_s`.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field

from autoscaling.simulator.scenario import Demand, Machine, Scenario, StageModel

_ROUNDING = 1e-9


@dataclass(slots=True, eq=False)
class Node:
    """A machine that is paid for."""

    machine: Machine
    ready_s: float
    free: list[float]
    replicas: int = 0
    idle_since_s: float = 0.0

    def has_room(self, demand: Demand) -> bool:
        return all(need <= free + _ROUNDING for need, free in zip(demand, self.free, strict=True))

    def take(self, demand: Demand, sign: int) -> None:
        self.free = [free - sign * need for need, free in zip(demand, self.free, strict=True)]
        self.replicas += sign


@dataclass(slots=True, eq=False)
class Replica:
    """One replica of a stage. It `serves` once started, and `is_gone` once told to stop."""

    node: Node
    ready_s: float
    serves: bool = False
    is_gone: bool = False


@dataclass(slots=True)
class Fleet:
    """All machines of a simulation. Time moves forward only through `advance`."""

    scenario: Scenario
    nodes: dict[str, list[Node]] = field(default_factory=dict)
    replicas: dict[str, list[Replica]] = field(default_factory=dict)
    serving: dict[str, int] = field(default_factory=dict)
    ordered_nodes: int = 0
    _candidates: dict[str, dict[int, Node]] = field(default_factory=dict)
    _starting: list[tuple[float, int, str, Replica]] = field(default_factory=list)
    _draining: list[tuple[float, int, Node, Demand]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.nodes = {name: [] for name in self.scenario.machines}
        self.replicas = {stage.name: [] for stage in self.scenario.stages}
        self.serving = dict.fromkeys(self.replicas, 0)
        # Nodes that may have room for a stage. Full ones are skipped until something on them is removed.
        self._candidates = {stage.name: {} for stage in self.scenario.stages}

    def advance(self, now_s: float) -> None:
        """Start replicas that are due, free those that have drained, and end idle machines."""
        while self._starting and self._starting[0][0] <= now_s:
            _, _, stage, replica = heapq.heappop(self._starting)
            if not replica.is_gone:
                replica.serves = True
                self.serving[stage] += 1
        while self._draining and self._draining[0][0] <= now_s:
            at_s, _, node, demand = heapq.heappop(self._draining)
            self._free(node, demand, at_s)

    def end_idle(self, now_s: float) -> None:
        """End machines that have been without a replica for too long."""
        for name, nodes in self.nodes.items():
            ended = [n for n in nodes if not n.replicas and now_s - n.idle_since_s >= self.scenario.idle_s]
            if ended:
                gone = {id(node) for node in ended}
                self.nodes[name] = [node for node in nodes if id(node) not in gone]
                for candidates in self._candidates.values():
                    for key in gone:
                        candidates.pop(key, None)

    def scale(self, stage: StageModel, wanted: int, now_s: float) -> None:
        """Order or stop replicas of a stage until `wanted` are ordered."""
        have = self.replicas[stage.name]
        if wanted > len(have):
            for _ in range(wanted - len(have)):
                self._start(stage, now_s)
        elif wanted < len(have):
            self._stop(stage, len(have) - wanted, now_s)

    def price_per_hour(self) -> float:
        """Return the current price of all machines per hour."""
        return sum(self.scenario.machines[name].price_per_hour * len(nodes) for name, nodes in self.nodes.items())

    def held_calls(self) -> float:
        """Return how many calls all stages can now hold within the latency target."""
        return min(self.serving[stage.name] * stage.calls_per_replica for stage in self.scenario.stages)

    def _start(self, stage: StageModel, now_s: float) -> None:
        node = self._place(stage, now_s)
        node.take(stage.demand, +1)
        replica = Replica(node, max(now_s, node.ready_s) + stage.start_s)
        self.replicas[stage.name].append(replica)
        heapq.heappush(self._starting, (replica.ready_s, next(self._numbers), stage.name, replica))

    def _place(self, stage: StageModel, now_s: float) -> Node:
        candidates = self._candidates[stage.name]
        full = [key for key, node in candidates.items() if not node.has_room(stage.demand)]
        for key in full:
            del candidates[key]
        if candidates:
            return max(candidates.values(), key=lambda node: (node.ready_s <= now_s, node.replicas))
        machine = self.scenario.machines[stage.machine]
        node = Node(machine, now_s + machine.boot_s, list(machine.capacity), idle_since_s=now_s)
        self.nodes[stage.machine].append(node)
        self.ordered_nodes += 1
        self._offer(node)
        return node

    def _stop(self, stage: StageModel, count: int, now_s: float) -> None:
        have = self.replicas[stage.name]
        newest_first = sorted(have, key=lambda replica: (replica.serves, replica.node.replicas, -replica.ready_s))
        for replica in newest_first[:count]:
            replica.is_gone = True
            if replica.serves:
                self.serving[stage.name] -= 1
                end_s = now_s + stage.drain_s
                heapq.heappush(self._draining, (end_s, next(self._numbers), replica.node, stage.demand))
            else:
                self._free(replica.node, stage.demand, now_s)
        self.replicas[stage.name] = [replica for replica in have if not replica.is_gone]

    def _free(self, node: Node, demand: Demand, now_s: float) -> None:
        node.take(demand, -1)
        self._offer(node)
        if not node.replicas:
            node.idle_since_s = now_s

    def _offer(self, node: Node) -> None:
        for stage in self.scenario.stages:
            if stage.machine == node.machine.name:
                self._candidates[stage.name][id(node)] = node
