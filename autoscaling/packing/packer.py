"""Packs replicas onto slots.

Replicas of one class are alike, so the problem is how many slots to fill with which pattern such that every replica has
a place. Small problems are solved by trying everything: what is left to place is a vector of a few counts, and the
cheapest way to place it is remembered. Big ones use the linear relaxation, whose whole slots are nearly all of the
answer, and place the rest exactly, or greedily by the value that the relaxation gives to each class.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from autoscaling.packing.model import Counts, DoesNotFit, Item, Packing, Pattern, SlotKind
from autoscaling.packing.patterns import MOST_PATTERNS, maximal_patterns, relaxed

# Everything is tried up to this product of remainder vectors and patterns.
EXACT_WORK = 400_000

Chosen = Counter[int]


def pack(items: Sequence[Item], slots: Sequence[SlotKind], *, exact_work: int = EXACT_WORK) -> Packing:
    """Place all replicas as cheaply as possible, never filling a slot beyond any of its capacities.

    Raises:
        DoesNotFit: a class fits nowhere. The message names it.
    """
    wanted = [item for item in items if item.count > 0]
    if not wanted:
        return Packing((), {}, 0.0, 0.0, is_exact=True)
    needs = tuple(item.count for item in wanted)
    patterns, is_complete = _all_patterns(wanted, slots)
    bound, worth, used = relaxed(patterns, needs)
    if not is_complete:
        bound = _volume_bound(wanted, slots)
    if _work(needs, patterns) <= exact_work and is_complete:
        chosen: Chosen | None = _Exhaustive(patterns).cover(needs)
        is_exact = True
    else:
        chosen, is_exact = _rounded(patterns, needs, worth, used, exact_work), False
    assert chosen is not None
    return _packing(items, wanted, patterns, chosen, bound, is_exact=is_exact)


def _all_patterns(items: Sequence[Item], slots: Sequence[SlotKind]) -> tuple[list[Pattern], bool]:
    patterns: list[Pattern] = []
    for slot in slots:
        for pattern in maximal_patterns(items, slot):
            patterns.append(pattern)
            if len(patterns) >= MOST_PATTERNS:
                break
    for index, item in enumerate(items):
        if not any(pattern.counts[index] for pattern in patterns):
            raise DoesNotFit(f"{item.name}: one replica needs more than any machine's device has")
    return patterns, len(patterns) < MOST_PATTERNS


def _work(needs: Counts, patterns: Sequence[Pattern]) -> int:
    return math.prod(need + 1 for need in needs) * len(patterns)


class _Exhaustive:
    """Tries every way to cover the remaining replicas, remembering the best for each remainder."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = patterns
        self._best: dict[Counts, tuple[float, int]] = {}

    def cover(self, needs: Counts) -> Chosen:
        """Return how often the cheapest cover uses each pattern."""
        for remainder in self._remainders(needs):
            self._best[remainder] = self._cheapest(remainder)
        chosen: Chosen = Counter()
        while any(needs):
            _, index = self._best[needs]
            chosen[index] += 1
            needs = _left(needs, self._patterns[index].counts)
        return chosen

    def _remainders(self, needs: Counts) -> list[Counts]:
        """Return every possible remainder, smaller ones first, so that no call is nested."""
        seen, stack = {needs}, [needs]
        while stack:
            current = stack.pop()
            for index in self._useful(current):
                rest = _left(current, self._patterns[index].counts)
                if rest not in seen:
                    seen.add(rest)
                    stack.append(rest)
        return sorted(seen, key=sum)

    def _cheapest(self, needs: Counts) -> tuple[float, int]:
        if not any(needs):
            return 0.0, -1
        return min(
            (self._patterns[index].slot.price + self._best[_left(needs, self._patterns[index].counts)][0], index)
            for index in self._useful(needs)
        )

    def _useful(self, needs: Counts) -> list[int]:
        """Return the patterns that place the first remaining class, of which one must be used."""
        first = next((index for index, need in enumerate(needs) if need), None)
        if first is None:
            return []
        return [index for index, pattern in enumerate(self._patterns) if pattern.counts[first]]


def _rounded(
    patterns: Sequence[Pattern], needs: Counts, worth: Sequence[float], used: Sequence[float], exact_work: int
) -> Chosen:
    """Use the whole slots of the relaxation and place the rest, in the cheapest of a few ways."""
    floors = Counter({index: math.floor(value + 1e-6) for index, value in enumerate(used) if value >= 1 - 1e-6})
    fewer = Counter({index: count - 1 for index, count in floors.items()})
    support = [index for index, value in enumerate(used) if value > 1e-6]
    candidates = [_completed(patterns, needs, start, worth, exact_work, support) for start in (floors, fewer)]
    candidates.append(_greedy(patterns, needs, worth))
    return min(
        candidates, key=lambda chosen: sum(patterns[index].slot.price * count for index, count in chosen.items())
    )


def _completed(  # noqa: PLR0917 - the parts of one solution
    patterns: Sequence[Pattern],
    needs: Counts,
    start: Chosen,
    worth: Sequence[float],
    exact_work: int,
    support: Sequence[int],
) -> Chosen:
    rest = needs
    for index, count in start.items():
        rest = _left(rest, tuple(have * count for have in patterns[index].counts))
    if _work(rest, patterns) <= exact_work:
        return start + _Exhaustive(patterns).cover(rest)
    few = [index for index in support if patterns[index].counts]
    covers_all = all(any(patterns[index].counts[item] for index in few) for item, need in enumerate(rest) if need)
    if covers_all and _work(rest, [patterns[index] for index in few]) <= exact_work:
        found = _Exhaustive([patterns[index] for index in few]).cover(rest)
        return start + Counter({few[index]: count for index, count in found.items()})
    return start + _greedy(patterns, rest, worth)


def _greedy(patterns: Sequence[Pattern], needs: Counts, worth: Sequence[float]) -> Chosen:
    """Repeatedly use the pattern that places the most value for its price."""
    chosen: Chosen = Counter()
    while any(needs):

        def value(index: int, left: Counts = needs) -> float:
            pattern = patterns[index]
            placed = (min(c, n) * max(w, 1e-6) for c, n, w in zip(pattern.counts, left, worth, strict=True))
            return sum(placed) / pattern.slot.price

        best = max(range(len(patterns)), key=value)
        counts = patterns[best].counts
        times = min((need // count for need, count in zip(needs, counts, strict=True) if count and need), default=0)
        chosen[best] += max(times, 1)
        needs = _left(needs, tuple(count * max(times, 1) for count in counts))
    return chosen


def _left(needs: Counts, counts: Sequence[int]) -> Counts:
    return tuple(max(0, need - count) for need, count in zip(needs, counts, strict=True))


def _volume_bound(items: Sequence[Item], slots: Sequence[SlotKind]) -> float:
    """Return a lower bound on the price: each resource of all replicas at its cheapest."""
    bound = 0.0
    for resource in range(4):
        total = 0.0
        for item in items:
            prices = [
                slot.price * item.demands[slot.device][resource] / slot.capacity[resource]
                for slot in slots
                if slot.device in item.demands and slot.capacity[resource]
            ]
            total += item.count * min(prices, default=0.0)
        bound = max(bound, total)
    return bound


def _packing(
    items: Sequence[Item],
    wanted: Sequence[Item],
    patterns: Sequence[Pattern],
    chosen: Chosen,
    bound: float,
    *,
    is_exact: bool,
) -> Packing:
    """Return what is really placed, since a pattern may offer more places than replicas are left."""
    needs = tuple(item.count for item in wanted)
    placed: Counter[tuple[SlotKind, Counts]] = Counter()
    for index, count in sorted(chosen.items()):
        for _ in range(count):
            counts = tuple(min(have, need) for have, need in zip(patterns[index].counts, needs, strict=True))
            needs = _left(needs, counts)
            if any(counts):
                placed[patterns[index].slot, counts] += 1
    position = {item.name: index for index, item in enumerate(wanted)}
    filled = tuple(
        (Pattern(slot, tuple(counts[position[i.name]] if i.name in position else 0 for i in items)), count)
        for (slot, counts), count in placed.items()
    )
    slots_by_kind: Counter[SlotKind] = Counter()
    for pattern, count in filled:
        slots_by_kind[pattern.slot] += count
    machines = {slot.machine: math.ceil(count / slot.slots_per_machine) for slot, count in slots_by_kind.items()}
    price = sum(slot.price * slot.slots_per_machine * machines[slot.machine] for slot in slots_by_kind)
    return Packing(filled, machines, price, bound, is_exact=is_exact)
