"""The targets: what ringnet is to reach, as ratios within one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from figures.samples import Sample
from figures.summary import Spread, Summary, better_limit, of_scenario, ratios, spread
from measuring.scenarios import SCENARIOS

OURS = "ringnet-io_uring"
LIMIT = "limit"


@dataclass(frozen=True)
class Target:
    """`peer` against `other`: the ratio is to be at least, or at most, `bound`."""

    scenario: str
    other: str
    bound: float
    at_most: bool = False
    of: str = "value"  # or "cpu": the server's CPU time a message
    peer: str = OURS

    @property
    def key(self) -> str:
        """Its key in obstacles.py."""
        backend = "" if self.peer == OURS else self.peer.removeprefix("ringnet-") + " "
        return f"{self.scenario} {backend}{self.other}"

    @property
    def text(self) -> str:
        """Its text in the report, beside the scenario."""
        what = "CPU time a message" if self.of == "cpu" else self.peer.removeprefix("ringnet-")
        sign = "at most" if self.at_most else "at least"
        return f"{what} {sign} {self.bound:.2f} of {self.other}"


@dataclass(frozen=True)
class Judged:
    """A target and what was reached."""

    scenario: str
    key: str
    text: str
    reached: float
    least: float
    most: float
    met: bool
    by_distance: Mapping[str, float] = field(default_factory=dict)  # reached, where that is known


def _echo(scenario: str) -> list[Target]:
    return [
        Target(scenario, "limit-uring", 1.10, at_most=True, of="cpu"),
        Target(scenario, "uvloop", 1.4),
        Target(scenario, "gnet", 1.4),
    ]


def _bulk(scenario: str) -> list[Target]:
    return [Target(scenario, LIMIT, 0.9), *(Target(scenario, p, 1.0) for p in ("uvloop", "gnet"))]


def _udp(scenario: str) -> list[Target]:
    return [
        Target(scenario, "asyncio", 2.0),
        Target(scenario, "uvloop", 2.0),
        Target(scenario, "gnet", 1.0),
    ]


def _redis(scenario: str, bound: float) -> list[Target]:
    return [
        Target(scenario, "redis-server", bound),
        Target(scenario, "uvloop", 1.0),
        Target(scenario, "asyncio", 1.0),
    ]


TARGETS = (
    *_echo("echo-64"), *_echo("echo-1k"),
    Target("pipelined", LIMIT, 0.9), Target("pipelined", "gnet", 1.3),
    *_bulk("echo-64k"), *_bulk("echo-1m"), *_bulk("sink"), *_bulk("source"),
    *_udp("udp-64"), *_udp("udp-1400"),
    Target("churn", "uvloop", 1.3), Target("churn", "gnet", 1.0),
    Target("idle-memory", "gnet", 1.0, at_most=True),
    Target("idle-memory", "uvloop", 1.0, at_most=True),
    *_redis("redis-get", 1.0), *_redis("redis-set", 1.0),
    *_redis("redis-get-p16", 0.5), *_redis("redis-set-p16", 0.5),
    Target("http", "uvloop", 1.5), Target("http", "gnet", 1.0),
    Target("http-p16", "uvloop", 1.5), Target("http-p16", "gnet", 1.0),
    Target("echo-64", "asyncio", 1.2, peer="ringnet-epoll"),
    Target("echo-1k", "asyncio", 1.2, peer="ringnet-epoll"),
    Target("echo-64", "asyncio", 1.0, peer="ringnet-select"),
    Target("echo-1k", "asyncio", 1.0, peer="ringnet-select"),
    Target("open-loop", "gnet", 1.0, at_most=True),
    *(Target(name, "uvloop", 1.0, at_most=True, of="cpu") for name in ("proxy-1m", "proxy-bulk")),
)  # fmt: skip
IDLE_BYTES = 1024  # of user memory for an idle connection, at most
IDLE_KEY, IDLE_TEXT = "idle-memory bytes", f"at most {IDLE_BYTES} bytes"
MANY = ("connections-500", "connections-5000")  # no worse against the limit than with 50
MANY_TEXT = "ratio to the limit no worse than with 50"


def keys() -> dict[tuple[str, str], str]:
    """The keys of all targets, by their scenario and their text in the report."""
    return {
        **{(target.scenario, target.text): target.key for target in TARGETS},
        ("idle-memory", IDLE_TEXT): IDLE_KEY,
        **{(scenario, MANY_TEXT): Target(scenario, LIMIT, 1.0).key for scenario in MANY},
    }


def judged(samples: Sequence[Sample]) -> Iterator[Judged]:
    """Judge each target for which there are samples."""
    cache: dict[str, dict[str, Summary]] = {}

    def summaries(scenario: str) -> dict[str, Summary]:
        if scenario not in cache:
            higher = SCENARIOS[scenario].higher_is_better
            cache[scenario] = of_scenario(samples, scenario, higher)
        return cache[scenario]

    for target in TARGETS:
        found = reached(target, summaries(target.scenario))
        if found:
            yield _judge(target, found)
    yield from _absolute(summaries("idle-memory"))
    yield from _against_fifty(summaries)


def reached(target: Target, summaries: Mapping[str, Summary]) -> dict[str, Spread]:
    """The ratios of a target by distance of the CPUs; the first one counts."""
    ours = summaries.get(target.peer)
    theirs = summaries.get(target.other)
    if target.other == LIMIT:
        theirs = better_limit(summaries, SCENARIOS[target.scenario].higher_is_better)
    if ours is None or theirs is None:
        return {}
    if target.of == "cpu":
        return ratios(_by_cpu(ours), _by_cpu(theirs))
    return ratios(ours, theirs)


def _by_cpu(one: Summary) -> Summary:
    samples = tuple(replace(s, value=s.cpu_us) for s in one.samples if s.cpu_us is not None)
    return replace(one, samples=samples)


def _judge(target: Target, by_distance: Mapping[str, Spread]) -> Judged:
    found = next(iter(by_distance.values()))
    met = found.middle <= target.bound if target.at_most else found.middle >= target.bound
    each = {distance: one.middle for distance, one in by_distance.items()}
    three = (found.middle, found.least, found.most)
    return Judged(target.scenario, target.key, target.text, *three, met, each)


def _absolute(memory: Mapping[str, Summary]) -> Iterator[Judged]:
    if OURS in memory:
        value = memory[OURS].value
        three, met = (value.middle, value.least, value.most), value.middle <= IDLE_BYTES
        yield Judged("idle-memory", IDLE_KEY, IDLE_TEXT, *three, met)


def _against_fifty(summaries: Callable[[str], dict[str, Summary]]) -> Iterator[Judged]:
    """The ratio to the limit, divided by that with 50 connections."""
    base = reached(Target("echo-64", LIMIT, 1.0), summaries("echo-64"))
    for scenario in MANY:
        target = Target(scenario, LIMIT, 1.0)
        many = reached(target, summaries(scenario))
        distance = next((one for one in base if one in many), None)
        if distance is None:
            continue
        fifty, found = base[distance].middle, many[distance]
        shares = spread(x / fifty for x in (found.least, found.middle, found.most))
        met = shares.most >= 1.0  # within the spread
        three = (shares.middle, shares.least, shares.most)
        yield Judged(scenario, target.key, MANY_TEXT, *three, met)
