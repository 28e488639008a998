"""Callgrind's output files: the cost of each object (program or library), without its callees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

OPTIONS = ("--tool=callgrind", "--compress-strings=no", "--compress-pos=no")


def cost_by_object(lines: Iterable[str]) -> Counter[str]:
    """Instructions by object, in a file that was written with OPTIONS.

    The line after `calls=` has the inclusive cost of the callee, which is counted there already.
    """
    costs: Counter[str] = Counter()
    current = ""
    inclusive = False
    for line in lines:
        if line.startswith("ob="):
            current = line[3:].strip()
        elif line.startswith("calls="):
            inclusive = True
        elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
            if not inclusive:
                costs[current] += int(line.split()[1])
            inclusive = False
    return costs


def share_of(costs: Counter[str], part: str) -> int:
    """The cost of all objects whose name contains `part`."""
    return sum(cost for name, cost in costs.items() if part in name)
