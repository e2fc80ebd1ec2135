"""All maximal fillings of a slot, and the value of each class of replicas (the dual of the linear relaxation)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from autoscaling.packing.model import Amounts, Item, Pattern, SlotKind

# With more fillings than this, only the first ones found are used, and the bound is the weaker one by volume.
MOST_PATTERNS = 20_000
_ROUNDING = 1e-9


def maximal_patterns(items: Sequence[Item], slot: SlotKind) -> Iterator[Pattern]:
    """Yield every filling of a slot to which no further needed replica can be added."""

    def fill(index: int, room: Amounts, counts: tuple[int, ...]) -> Iterator[Pattern]:
        if index == len(items):
            if any(counts) and _is_maximal(items, slot, room, counts):
                yield Pattern(slot, counts)
            return
        demand = items[index].demands.get(slot.device)
        most = 0 if demand is None else min(items[index].count, _most(demand, room))
        for count in range(most, -1, -1):
            left = room if demand is None else _less(room, demand, count)
            yield from fill(index + 1, left, (*counts, count))

    yield from fill(0, slot.capacity, ())


def _is_maximal(items: Sequence[Item], slot: SlotKind, room: Amounts, counts: Sequence[int]) -> bool:
    for item, count in zip(items, counts, strict=True):
        demand = item.demands.get(slot.device)
        if demand is not None and count < item.count and _most(demand, room) > 0:
            return False
    return True


def _most(demand: Amounts, room: Amounts) -> int:
    return min((have // need for need, have in zip(demand, room, strict=True) if need > 0), default=1_000_000)


def _less(room: Amounts, demand: Amounts, count: int) -> Amounts:
    share, memory, cores, host = (have - count * need for have, need in zip(room, demand, strict=True))
    return share, memory, cores, host


def relaxed(patterns: Sequence[Pattern], needs: Sequence[int]) -> tuple[float, list[float], list[float]]:
    """Solve the covering problem with fractions of slots.

    It solves the dual, `max needs * worth` with `counts * worth <= price` for each pattern, for which zero is feasible.
    The simplex tableau has a row for each pattern and a column for each class, so there are few pivots.

    Returns:
        The minimum price, the value of one replica of each class, and how many slots of each pattern are used.
    """
    rows = [[float(count) for count in pattern.counts] + [pattern.slot.price] for pattern in patterns]
    top = [-float(need) for need in needs] + [0.0]
    row_names = [len(needs) + index for index in range(len(rows))]
    column_names = list(range(len(needs)))
    while top[column := min(range(len(needs)), key=top.__getitem__)] < -_ROUNDING:
        row = _leaving(rows, column)
        _pivot(rows, top, row, column)
        row_names[row], column_names[column] = column_names[column], row_names[row]
    worth = [0.0] * len(needs)
    for name, values in zip(row_names, rows, strict=True):
        if name < len(needs):
            worth[name] = values[-1]
    used = [0.0] * len(patterns)
    for name, value in zip(column_names, top, strict=False):
        if name >= len(needs):
            used[name - len(needs)] = value
    return top[-1], worth, used


def _leaving(rows: Sequence[Sequence[float]], column: int) -> int:
    best, chosen = float("inf"), -1
    for index, row in enumerate(rows):
        if row[column] > _ROUNDING and row[-1] / row[column] < best - 1e-12:
            best, chosen = row[-1] / row[column], index
    if chosen < 0:
        raise ArithmeticError("a class of replicas is in no pattern")
    return chosen


def _pivot(rows: list[list[float]], top: list[float], row: int, column: int) -> None:
    """Exchange a slack and a variable in place. Columns represent variables that are zero, and rows the others."""
    pivot = rows[row][column]
    rows[row] = [value / pivot for value in rows[row]]
    rows[row][column] = 1 / pivot
    for other in (*rows, top):
        factor = other[column]
        if other is rows[row] or factor == 0:
            continue
        for index, value in enumerate(rows[row]):
            if index != column:
                other[index] -= factor * value
        other[column] = -factor / pivot
