"""The report: medians over the runs as a table, and everything as JSON.

A ratio is the median of the runs' ratios: what two servers did minutes apart is not compared.
"""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict
from statistics import median
from typing import Any

from measure import Results, Sample

REFERENCES = ("uvloop", "asyncio")
IDLE_SHARE = 0.005  # of a CPU; more than that disturbs what is measured meanwhile
COLUMNS = (
    "server",
    "bytes",
    "kmsg/s",
    "(min..max)",
    "us/msg",
    "p50 us",
    "p99 us",
    "cpu %",
    *(f"x {name}" for name in REFERENCES),
    "",
)


def table(results: Results) -> str:
    """The medians, one line for each server and size, and the remarks below."""
    rows = [
        _row(results, server, size)
        for size in results.settings.sizes
        for server in results.servers()
    ]
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [_line(row, widths) for row in (COLUMNS, *rows)]
    return "\n".join([*lines, *remarks(results)])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    left = first[0].ljust(first[1])
    return "  ".join([left, *(cell.rjust(width) for cell, width in others)]).rstrip()


def _row(results: Results, server: str, size: int) -> tuple[str, ...]:
    samples = results.of(server, size)
    if not samples:
        return (server, str(size), "failed", *[""] * (len(COLUMNS) - 3))
    rates = [s.messages_per_second / 1e3 for s in samples]
    ratios = (ratio(results, server, other, size) for other in REFERENCES)
    return (
        server,
        str(size),
        f"{median(rates):.1f}",
        f"({min(rates):.1f}..{max(rates):.1f})",
        f"{median(s.us_per_message for s in samples):.2f}",
        f"{median(s.p50_us for s in samples):.0f}",
        f"{median(s.p99_us for s in samples):.0f}",
        f"{median(s.server_share for s in samples) * 100:.0f}",
        *("-" if value is None else f"{value:.2f}" for value in ratios),
        _mark(samples),
    )


def _mark(samples: list[Sample]) -> str:
    counts = {
        "*": sum(s.load_limited for s in samples),
        "~": sum(s.disturbed for s in samples),
    }
    return " ".join(f"{mark} {n}/{len(samples)}" for mark, n in counts.items() if n)


def ratio(results: Results, server: str, other: str, size: int) -> float | None:
    """Throughput to that of another: the median over the runs that have both, if any has."""
    theirs = {s.run: s.messages_per_second for s in results.of(other, size)}
    ours = results.of(server, size)
    ratios = [s.messages_per_second / theirs[s.run] for s in ours if s.run in theirs]
    return median(ratios) if ratios else None


def remarks(results: Results) -> Iterator[str]:
    """What a reader of the table must know."""
    if any(s.load_limited for s in results.samples):
        yield "* samples in which the load used its whole CPU: the server may be able to do more"
    if any(s.disturbed for s in results.samples):
        yield "~ samples in which neither used its CPU: others took it, or connections are too few"
    for name, share in results.idle_shares().items():
        if share > IDLE_SHARE:
            yield f"{name} used {share:.1%} of a CPU while it had nothing to do"
    for name, reason in results.failures.items():
        yield f"{name} failed: {reason}"


def as_json(results: Results) -> dict[str, Any]:
    """All samples, and what they were taken on."""
    return {
        "settings": asdict(results.settings),
        "system": _system(),
        "idle_share": results.idle_shares(),
        "failures": results.failures,
        "samples": [_sample(s) for s in results.samples],
    }


def _sample(sample: Sample) -> dict[str, Any]:
    judged = {"load_limited": sample.load_limited, "disturbed": sample.disturbed}
    return asdict(sample) | judged


def _system() -> dict[str, str | None]:
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "ringnet": _version("ringnet"),
        "uvloop": _version("uvloop"),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
