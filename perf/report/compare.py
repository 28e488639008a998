"""Two runs side by side: `python perf/suite.py compare A.json B.json [--threshold R]`.

Machines and days differ, so only ratios within a run are compared: each ringnet server to the
better C server or, where there is none, to another peer that both runs have, with the same distance
of the CPUs in both. It is a regression when the ratio got worse by more than the threshold, the
runs' ratios do not overlap, and the samples were not disturbed. What cannot be compared is listed.
Exit status: 0 none; 1 some; 2 the files cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures.samples import DISTURBED
from figures.summary import Spread, Summary, better_limit, of_scenario, ratios
from measuring.roster import PEERS
from measuring.scenarios import SCENARIOS, Scenario

from .record import BadRecord, Record, read

THRESHOLD = 0.10
FALLBACKS = ("uvloop", "gnet", "asyncio", "redis-server", "nginx")


@dataclass(frozen=True)
class Change:
    """A ratio in both runs. `factor` is B's by A's, or the inverse where less is better."""

    scenario: str
    peer: str
    reference: str
    before: Spread
    after: Spread
    factor: float
    overlaps: bool
    disturbed: bool  # in most of the samples of one of the four

    def is_regression(self, threshold: float) -> bool:
        """Whether it got worse by more than the spread of the runs."""
        return self.factor < 1 - threshold and not self.overlaps and not self.disturbed


def changes(a: Record, b: Record) -> Iterator[Change]:
    """The changes of every scenario and ringnet server that both runs have."""
    for scenario in SCENARIOS.values():
        before = of_scenario(a.samples, scenario.name, scenario.higher_is_better)
        after = of_scenario(b.samples, scenario.name, scenario.higher_is_better)
        reference = _reference(scenario, before, after)
        if reference is not None:
            yield from _of_scenario(scenario, before, after, reference)


def _reference(
    scenario: Scenario, before: Mapping[str, Summary], after: Mapping[str, Summary]
) -> str | None:
    limit = better_limit(before, scenario.higher_is_better)
    names = [limit.peer] if limit is not None else []
    return next((n for n in (*names, *FALLBACKS) if n in before and n in after), None)


def _of_scenario(
    scenario: Scenario, before: Mapping[str, Summary], after: Mapping[str, Summary], name: str
) -> Iterator[Change]:
    for peer in before:
        if peer not in after or peer not in PEERS or not PEERS[peer].is_ours:
            continue
        all_was, all_now = ratios(before[peer], before[name]), ratios(after[peer], after[name])
        distance = next((one for one in all_was if one in all_now), None)
        if distance is None:
            continue
        was, now = all_was[distance], all_now[distance]
        factor = now.middle / was.middle
        four = (before[peer], before[name], after[peer], after[name])
        yield Change(
            scenario.name, peer, name, was, now,
            factor=factor if scenario.higher_is_better else 1 / factor,
            overlaps=was.least <= now.most and now.least <= was.most,
            disturbed=any(2 * one.marks.get(DISTURBED, 0) > len(one.samples) for one in four),
        )  # fmt: skip


def left_out(a: Record, b: Record, found: Sequence[Change]) -> Iterator[str]:
    """The ringnet servers in both runs that have nothing to be compared with."""
    both = {(s.scenario, s.peer) for s in a.samples} & {(s.scenario, s.peer) for s in b.samples}
    for scenario, peer in sorted(both - {(one.scenario, one.peer) for one in found}):
        if peer in PEERS and PEERS[peer].is_ours:
            yield f"{scenario} {peer}: not compared: no peer in both at the same distance"


def lines(found: Sequence[Change], threshold: float) -> Iterator[str]:
    """The lines of a table: ratios with their spread."""
    widths = (24, 20, 14, 24, 24, 7)
    head = ("scenario", "server", "against", "A", "B", "B to A", "")
    for cells in (head, *(_cells(one, threshold) for one in found)):
        *cut, last = cells
        padded = (cell.ljust(width) for cell, width in zip(cut, widths, strict=True))
        yield "".join([*padded, last]).rstrip()


def _cells(one: Change, threshold: float) -> tuple[str, ...]:
    verdict = "worse" if one.is_regression(threshold) else ""
    if not verdict and abs(one.factor - 1) > threshold:
        verdict = "within the spread" if one.overlaps else "better"
        verdict = "disturbed" if one.disturbed else verdict
    factor = f"{one.factor:.2f}"
    ratios = (_cell(one.before), _cell(one.after), factor)
    return (one.scenario, one.peer, one.reference, *ratios, verdict)


def _cell(value: Spread) -> str:
    return f"{value.middle:.3f} ({value.least:.3f}..{value.most:.3f})"


def main(given: Sequence[str]) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="suite.py compare", description="Compare ratios.")
    parser.add_argument("a", type=Path, metavar="A.json")
    parser.add_argument("b", type=Path, metavar="B.json")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, metavar="R",
                        help=f"of a ratio that got worse; default: {THRESHOLD}")  # fmt: skip
    options = parser.parse_args(given)
    try:
        a, b = read(options.a), read(options.b)
    except BadRecord as error:
        print(error, file=sys.stderr)
        return 2
    found = list(changes(a, b))
    for line in left_out(a, b, found):
        print(line)
    if not found:
        print("the two runs have nothing in common", file=sys.stderr)
        return 2
    for line in lines(found, options.threshold):
        print(line)
    return 1 if any(one.is_regression(options.threshold) for one in found) else 0
