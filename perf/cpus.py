"""Which CPU the server gets and which the load gets, and the CPU clock of another process."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


@dataclass(frozen=True)
class Placement:
    """The two CPUs of a measurement, and what is wrong with them, if anything."""

    server: int
    load: int
    caveat: str = ""


def place() -> Placement:
    """Choose among the CPUs that this process may use: two cores of their own if there are."""
    allowed = sorted(os.sched_getaffinity(0))
    server = allowed[-1]  # interrupts tend to land on the first
    others = [cpu for cpu in allowed if cpu != server]
    if not others:
        caveat = "one CPU only: server and load share it, so that the figures mean little"
        return Placement(server, server, caveat)
    core = _siblings(server)
    apart = [cpu for cpu in others if cpu not in core]
    if not apart:
        caveat = "both CPUs are threads of one core: server and load slow each other down"
        return Placement(server, others[0], caveat)
    return Placement(server, apart[0])


def _siblings(cpu: int) -> set[int]:
    try:
        text = Path(_TOPOLOGY.format(cpu)).read_text()
    except OSError:
        return {cpu}
    return parse_cpu_list(text)


def parse_cpu_list(text: str) -> set[int]:
    """Read the kernel's way to write a set of CPUs: "0-2,7"."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads, in nanosecond resolution.

    As clock_getcpuclockid(3), which Python lacks: the clock's number is made of the pid.
    Raises OSError where there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)
