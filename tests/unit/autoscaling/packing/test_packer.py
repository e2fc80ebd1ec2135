"""Packing: never over any capacity, exact when small, near the optimum when not."""

from __future__ import annotations

import itertools
import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaling.packing.model import Amounts, Counts, DoesNotFit, Item, Packing, SlotKind
from autoscaling.packing.packer import pack
from autoscaling.packing.patterns import maximal_patterns, relaxed

pytestmark = pytest.mark.unit
GIB = 2**30
L4 = SlotKind("g6", "l4", (1000, 22 * GIB, 4000, 16 * GIB), 0.8)
L40S = SlotKind("g6e", "l40s", (1000, 44 * GIB, 8000, 64 * GIB), 1.9)
FOUR = SlotKind("g6x4", "l4", (1000, 22 * GIB, 12000, 48 * GIB), 1.1, slots_per_machine=4)

amounts = st.tuples(
    st.integers(50, 1000), st.integers(1, 22).map(lambda gib: gib * GIB), st.integers(100, 4000), st.just(GIB)
)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[Item], list[SlotKind]]:
    kinds = draw(st.lists(st.sampled_from([L4, L40S, FOUR]), min_size=1, max_size=3, unique=True))
    devices = {kind.device for kind in kinds}
    items = [
        Item(f"stage{index}", draw(st.integers(0, 40)), {device: draw(amounts) for device in sorted(devices)})
        for index in range(draw(st.integers(1, 4)))
    ]
    return items, kinds


def placed(packing: Packing, items: list[Item]) -> Counts:
    totals = [0] * len(items)
    for pattern, slots in packing.patterns:
        for index, count in enumerate(pattern.counts):
            totals[index] += count * slots
    return tuple(totals)


def used(packing: Packing, items: list[Item]) -> list[tuple[SlotKind, Amounts]]:
    rows = []
    for pattern, _ in packing.patterns:
        sums = [0, 0, 0, 0]
        for item, count in zip(items, pattern.counts, strict=True):
            if count:
                sums = [have + count * need for have, need in zip(sums, item.demands[pattern.slot.device], strict=True)]
        rows.append((pattern.slot, (sums[0], sums[1], sums[2], sums[3])))
    return rows


@given(problems(), st.sampled_from([0, 50_000]))
@settings(max_examples=150, deadline=None)
def test_no_slot_is_over_its_memory_or_anything_else_and_every_replica_has_a_place(
    problem: tuple[list[Item], list[SlotKind]], exact_work: int
) -> None:
    items, kinds = problem
    packing = pack(items, kinds, exact_work=exact_work)
    for slot, sums in used(packing, items):
        assert all(have <= room for have, room in zip(sums, slot.capacity, strict=True))
    assert placed(packing, items) == tuple(item.count for item in items)
    assert packing.price >= packing.bound * (1 - 1e-9)
    slots = {}
    for pattern, count in packing.patterns:
        slots[pattern.slot] = slots.get(pattern.slot, 0) + count
    bought = sum(packing.machines[slot.machine] * slot.slots_per_machine * slot.price for slot in slots)
    assert packing.price == pytest.approx(bought)


def cheapest_by_trying_everything(items: list[Item], kinds: list[SlotKind]) -> float:
    """The optimum, by another way than the packer's: every filling (not only full ones), every order of slots."""
    ranges = [range(item.count + 1) for item in items]
    fillings = [
        (kind.price, counts)
        for kind in kinds
        for counts in itertools.product(*ranges)
        if any(counts) and kind.fits(items, counts)
    ]

    @cache
    def best(left: Counts) -> float:
        if not any(left):
            return 0.0
        usable = [
            (price, counts)
            for price, counts in fillings
            if all(count <= need for count, need in zip(counts, left, strict=True))
        ]
        return min(
            price + best(tuple(need - count for need, count in zip(left, counts, strict=True)))
            for price, counts in usable
        )

    return best(tuple(item.count for item in items))


def random_small_case(rng: random.Random) -> tuple[list[Item], list[SlotKind]]:
    kinds = rng.sample([L4, L40S], rng.choice([1, 2]))
    items = [
        Item(
            f"stage{index}",
            rng.randint(1, 4),
            {
                kind.device: (
                    rng.choice([100, 200, 250, 300, 400, 500, 750, 1000]),
                    rng.randint(1, 20) * GIB,
                    rng.choice([250, 500, 1000, 2000]),
                    GIB,
                )
                for kind in kinds
            },
        )
        for index in range(rng.randint(2, 4))
    ]
    return items, kinds


def test_two_hundred_small_cases_are_optimal_and_the_heuristic_alone_is_within_five_percent() -> None:
    rng = random.Random(5)
    heuristic, optimum, worst = 0.0, 0.0, 0.0
    for _ in range(200):
        items, kinds = random_small_case(rng)
        best = cheapest_by_trying_everything(items, kinds)
        exact = pack(items, kinds)
        assert exact.is_exact
        assert exact.price == pytest.approx(best)
        rounded = pack(items, kinds, exact_work=0)
        assert not rounded.is_exact
        heuristic, optimum = heuristic + rounded.price, optimum + best
        worst = max(worst, rounded.price / best)
    assert heuristic <= 1.05 * optimum
    assert worst <= 1.6  # one slot more than needed, where few are needed


def test_hundreds_of_replicas_are_packed_close_to_the_bound() -> None:
    items = [
        Item("transcriber", 400, {"l4": (400, 3 * GIB, 1000, GIB)}),
        Item("synthesizer", 300, {"l4": (250, 2 * GIB, 500, GIB)}),
        Item("retriever", 120, {"l4": (100, 2 * GIB, 500, GIB)}),
    ]
    packing = pack(items, [L4])
    assert not packing.is_exact
    assert packing.gap < 0.02


def test_class_that_fits_nowhere_is_named() -> None:
    with pytest.raises(DoesNotFit, match="language_model"):
        pack([Item("language_model", 1, {"l4": (1000, 40 * GIB, 1000, GIB)})], [L4])


def test_nothing_to_place_costs_nothing() -> None:
    assert pack([Item("a", 0, {"l4": (1, 1, 1, 1)})], [L4]).price == 0


def test_machine_with_four_devices_is_bought_whole() -> None:
    packing = pack([Item("a", 5, {"l4": (1000, GIB, 1000, GIB)})], [FOUR])
    assert packing.machines == {"g6x4": 2}
    assert packing.price == pytest.approx(2 * 4 * 1.1)
    assert packing.gap == pytest.approx(8 / 5 - 1)


def test_patterns_leave_no_room_for_another_replica() -> None:
    items = [Item("a", 9, {"l4": (400, GIB, 0, 0)}), Item("b", 9, {"l4": (250, GIB, 0, 0)})]
    found = {pattern.counts for pattern in maximal_patterns(items, L4)}
    assert found == {(2, 0), (1, 2), (0, 4)}


def test_relaxation_is_a_bound_and_its_worths_prove_it() -> None:
    items = [Item("a", 7, {"l4": (400, GIB, 0, 0)}), Item("b", 5, {"l4": (250, GIB, 0, 0)})]
    patterns = list(maximal_patterns(items, L4))
    bound, worth, slots = relaxed(patterns, (7, 5))
    assert bound == pytest.approx(sum(need * value for need, value in zip((7, 5), worth, strict=True)))
    for pattern in patterns:
        assert sum(c * w for c, w in zip(pattern.counts, worth, strict=True)) <= pattern.slot.price + 1e-9
    for index, need in enumerate((7, 5)):
        assert sum(p.counts[index] * x for p, x in zip(patterns, slots, strict=True)) >= need - 1e-9
