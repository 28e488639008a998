"""What the tests of perf/ share: samples, and a record of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from figures.samples import Sample
from report.record import Record


def samples(scenario: str, peer: str, *values: float, **more: Any) -> list[Sample]:
    """One sample a value, in runs of their own."""
    variant = more.pop("variant", "")
    return [Sample(scenario, peer, variant, run, value, **more) for run, value in enumerate(values)]


def record_of(found: Sequence[Sample]) -> Record:
    """A record as if it had been read."""
    made = {
        "format": 1,
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "machine": {
            "cpu": "a CPU", "cpus": 2, "memory_gib": 4.0, "kernel": "6.1", "system": "Linux",
            "architecture": "x86_64", "server_cpu": 1, "load_cpu": 0, "caveat": "",
        },
        "versions": {"uvloop": "uvloop 1"},
        "settings": {"seconds": 1.0, "warmup": 0.1, "runs": 3, "spare": 1.0},
        "skipped": {"nginx": "there is no nginx: apt install nginx-light"},
        "failures": {},
    }  # fmt: skip
    return Record(made, tuple(found))
