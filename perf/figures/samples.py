"""A sample, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

LIMIT_SHARE = 0.98  # of a CPU: a load that used more of it may have been the limit
OTHERS_SHARE = 0.10  # of a CPU, used by other processes on the two: more counts as disturbed
RATE_SHARE = 0.98  # of an open loop's rate: below it the server was too slow for it
NEAR_NS = 180  # a cache line there and back: 50 to 120 within a shared cache, 250 and more beyond

NEAR = "near"  # the server's and the load's CPU share a cache
FAR = "far"
MOVED = "moved"  # it changed during the sample
UNKNOWN = ""

LOAD_LIMITED = "load-limited"
DISTURBED = "disturbed"
OVERLOADED = "overloaded"
MARKS = {LOAD_LIMITED: "*", DISTURBED: "~", OVERLOADED: "!"}
MEANINGS = {
    LOAD_LIMITED: "the load used its whole CPU: the server may be able to do more",
    DISTURBED: "other processes used the CPUs",
    OVERLOADED: "the server did not keep up with the rate",
}


@dataclass(frozen=True)
class Sample:
    """One scenario, one peer, one run. `value` is in the scenario's unit."""

    scenario: str
    peer: str
    variant: str
    run: int
    value: float
    cpu_us: float | None = None  # of the server, per message, connection or MB
    server_share: float | None = None  # of a CPU
    load_share: float | None = None
    latency_us: Mapping[str, float] = field(default_factory=dict)
    marks: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    line_ns: tuple[float, ...] = ()  # a cache line between the two CPUs and back, before and after

    @property
    def distance(self) -> str:
        """How far the two CPUs were from each other: NEAR, FAR, MOVED or UNKNOWN."""
        if not self.line_ns or min(self.line_ns) <= 0:
            return UNKNOWN
        far = [ns > NEAR_NS for ns in self.line_ns]
        return FAR if all(far) else MOVED if any(far) else NEAR

    def as_json(self) -> dict[str, Any]:
        """Plain data, which `from_json` reads."""
        return asdict(self)


def from_json(made: Mapping[str, Any]) -> Sample:
    """The inverse of `Sample.as_json`."""
    lists = {"marks": tuple(made["marks"]), "line_ns": tuple(made.get("line_ns", ()))}
    return Sample(**{**made, **lists})


def marks_of(answer: Mapping[str, Any], rate: float = 0) -> tuple[str, ...]:
    """The marks of a sample, by the load generator's answer."""
    seconds = answer["seconds"]
    wrong = {
        LOAD_LIMITED: answer["load_cpu_seconds"] >= LIMIT_SHARE * seconds,
        DISTURBED: answer["others_cpu_seconds"] > OTHERS_SHARE * seconds,
        OVERLOADED: answer["messages"] < RATE_SHARE * rate * seconds,
    }
    return tuple(mark for mark, is_so in wrong.items() if is_so)
