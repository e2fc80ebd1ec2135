"""The packing problem: place replicas of a few classes onto the cheapest slots.

A slot is one device with its part of the machine; a machine without devices is one slot. All amounts are integers, so
that "fits" is exact: shares in thousandths of the device, memory in bytes, and cores in thousandths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Amounts in order: thousandths of the device, bytes of its memory, thousandths of a core, bytes of machine memory.
Amounts = tuple[int, int, int, int]
# Numbers of replicas of each class, in the order of the items.
Counts = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A class of replicas. `demands` is what one replica needs on each kind of device that it can run on."""

    name: str
    count: int
    demands: Mapping[str, Amounts]


@dataclass(frozen=True, slots=True)
class SlotKind:
    """A kind of slot: its device, its capacity, and its part of the machine's price."""

    machine: str
    device: str
    capacity: Amounts
    price: float
    slots_per_machine: int = 1

    def fits(self, items: Sequence[Item], counts: Counts) -> bool:
        """Return whether these numbers of replicas fit on one slot of this kind."""
        used = [0, 0, 0, 0]
        for item, count in zip(items, counts, strict=True):
            if count:
                demand = item.demands.get(self.device)
                if demand is None:
                    return False
                used = [have + count * need for have, need in zip(used, demand, strict=True)]
        return all(have <= room for have, room in zip(used, self.capacity, strict=True))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A way to fill one slot."""

    slot: SlotKind
    counts: Counts


@dataclass(frozen=True, slots=True)
class Packing:
    """A plan of slots.

    Attributes:
        patterns: fillings, with the number of slots that have them. Their counts are what is really placed.
        machines: number of machines by kind.
        price: of all machines, per hour.
        bound: lower bound on the price of any packing.
        is_exact: whether everything was tried. Only machines that are not filled up can then exceed the bound.
    """

    patterns: tuple[tuple[Pattern, int], ...]
    machines: Mapping[str, int]
    price: float
    bound: float
    is_exact: bool

    @property
    def gap(self) -> float:
        """How far the price is above the bound, as a share of the bound."""
        return self.price / self.bound - 1 if self.bound > 0 else 0.0


class DoesNotFit(ValueError):
    """A replica of some class fits on no slot, even alone."""
