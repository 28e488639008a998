"""The CPUs of a measurement, and what the kernel reports about CPUs and processes."""

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

    @property
    def all_but_load(self) -> frozenset[int]:
        """For servers with several threads."""
        return frozenset(os.sched_getaffinity(0)) - {self.load} or frozenset({self.server})


def place() -> Placement:
    """Choose among the CPUs that this process may use: two separate cores if possible."""
    allowed = sorted(os.sched_getaffinity(0))
    server = allowed[-1]  # interrupts tend to land on the first
    others = [cpu for cpu in allowed if cpu != server]
    if not others:
        caveat = "one CPU only: server and load share it, and the figures mean little"
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
    """Parse the kernel's notation of a set of CPUs: "0-2,7"."""
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


def descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *descendants(child)]
    except OSError:
        pass  # it is gone
    return found


def private_dirty(pid: int) -> int:
    """Bytes of memory that are private to this process and that it has written to."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Private_Dirty")


def parse_busy(text: str, cpu: int) -> float:
    """Seconds that a CPU was busy or stolen by the host, from the text of /proc/stat."""
    for line in text.splitlines():
        name, *numbers = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, numbers[:8])
            ticks = user + nice + system + irq + softirq + steal
            return ticks / os.sysconf("SC_CLK_TCK")
    return 0.0


def wait_until_quiet(on: tuple[int, ...], idle: float, patience: float, look: float = 0.1) -> bool:
    """Wait until each of these CPUs is idle for that share of a look. False if it never is."""
    deadline = time.monotonic() + patience
    while True:
        before, started = Path("/proc/stat").read_text(), time.monotonic()
        time.sleep(look)
        after, took = Path("/proc/stat").read_text(), time.monotonic() - started
        used = [parse_busy(after, cpu) - parse_busy(before, cpu) for cpu in on]
        if max(used) / took <= 1 - idle + 0.01:  # a tick is 10 ms
            return True
        if time.monotonic() > deadline:
            return False
