"""Medians, spreads and ratios of samples: pure arithmetic.

A ratio is the median of the runs' ratios. Samples that are minutes apart are not compared with each
other, and neither are samples on near CPUs with samples on far ones. Of a peer's variants the one
with the better median counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .samples import FAR, NEAR, UNKNOWN, Sample

LIMITS = ("limit-uring", "limit-epoll")
DISTANCES = (NEAR, UNKNOWN, FAR)  # the one that counts first
PERCENTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")


@dataclass(frozen=True)
class Spread:
    """A median with the minimum and the maximum."""

    middle: float
    least: float
    most: float

    @property
    def share(self) -> float:
        """Half of the range, as a share of the median."""
        return (self.most - self.least) / 2 / self.middle if self.middle else 0.0


def spread(values: Iterable[float]) -> Spread:
    """The spread of at least one value."""
    found = sorted(values)
    return Spread(median(found), found[0], found[-1])


@dataclass(frozen=True)
class Summary:
    """A peer in a scenario."""

    peer: str
    variant: str
    value: Spread
    cpu_us: float | None
    server_share: float | None
    load_share: float | None
    latency_us: Mapping[str, float]
    marks: Mapping[str, int]  # how many samples have it
    samples: tuple[Sample, ...]


def _median_of(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return median(found) if found else None


def summarize(samples: Sequence[Sample]) -> Summary:
    """Summarize the samples of one variant of a peer in one scenario."""
    latencies = {
        name: median([s.latency_us[name] for s in samples if name in s.latency_us])
        for name in PERCENTILES
        if any(name in s.latency_us for s in samples)
    }
    return Summary(
        peer=samples[0].peer,
        variant=samples[0].variant,
        value=spread(s.value for s in samples),
        cpu_us=_median_of(s.cpu_us for s in samples),
        server_share=_median_of(s.server_share for s in samples),
        load_share=_median_of(s.load_share for s in samples),
        latency_us=latencies,
        marks=Counter(mark for s in samples for mark in s.marks),
        samples=tuple(samples),
    )


def of_scenario(
    samples: Iterable[Sample], scenario: str, higher_is_better: bool
) -> dict[str, Summary]:
    """The summary of each peer, in the order of the first run."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.scenario == scenario:
            groups.setdefault((sample.peer, sample.variant), []).append(sample)
    best: dict[str, Summary] = {}
    for group in groups.values():
        made = summarize(group)
        other = best.get(made.peer)
        if other is None or _is_better(made, other, higher_is_better):
            best[made.peer] = made
    return best


def _is_better(one: Summary, other: Summary, higher_is_better: bool) -> bool:
    return (one.value.middle > other.value.middle) == higher_is_better


def ratios(one: Summary, other: Summary) -> dict[str, Spread]:
    """The ratios by distance of the CPUs, over the runs in which both had the same distance."""
    theirs = {(s.run, s.distance): s.value for s in other.samples}
    found: dict[str, list[float]] = {}
    for s in one.samples:
        if value := theirs.get((s.run, s.distance)):
            found.setdefault(s.distance, []).append(s.value / value)
    return {distance: spread(found[distance]) for distance in DISTANCES if distance in found}


def better_limit(summaries: Mapping[str, Summary], higher_is_better: bool) -> Summary | None:
    """The better C server."""
    found = [summaries[name] for name in LIMITS if name in summaries]
    found.sort(key=lambda s: s.value.middle, reverse=higher_is_better)
    return found[0] if found else None
