"""A profile of a server under the load of its scenario, by perf(1).

The event is cpu-clock, since virtual machines seldom have another. It samples the time during which
the server's threads run. Where interrupts are off, the sample comes when they are on again; the
calling functions on the stack are still the right ones. perf runs on the load's CPU.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from figures.areas import Profile, counted, shares

from .kinds import Turn

SAMPLES_A_SECOND = 4999  # not a multiple of the ticks
SCRIPT_SECONDS = 60
KINDS = frozenset({"load", "open"})  # of scenarios in which the load generator talks
REMEDY = "apt-get install linux-perf"
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
SYMBOLS = Path("/proc/kallsyms")


class CannotProfile(Exception):
    """There is no profile; the message has the reason and, where known, the remedy."""


def check() -> None:
    """Raise CannotProfile where perf cannot see the server, or not the kernel's part of it."""
    if shutil.which("perf") is None:
        raise CannotProfile(f"there is no perf: {REMEDY}")
    if not PARANOID.exists():
        raise CannotProfile("this kernel has no perf events")
    if os.geteuid() and int(PARANOID.read_text()) > 1:
        raise CannotProfile("perf may not see the kernel: run as root, or sysctl "
                            "kernel.perf_event_paranoid=1 kernel.kptr_restrict=0")  # fmt: skip
    with SYMBOLS.open() as symbols:
        if not any(int(line.split()[0], 16) for line in symbols):
            raise CannotProfile("the kernel hides its symbols: sysctl kernel.kptr_restrict=0")


def take(turn: Turn) -> Profile:
    """Take one more sample, untimed. Raises CannotProfile, or what the load raises."""
    server, file = turn.server, turn.load.folder / "perf.data"
    record = [
        "perf", "record", "--quiet", "--event", "cpu-clock", "--freq", str(SAMPLES_A_SECOND), "-g",
        "--clockid", "CLOCK_MONOTONIC", "--no-buildid", "--no-buildid-cache",
        "--pid", ",".join(map(str, server.pids())), "--output", str(file), "--",
    ]  # fmt: skip
    answer = turn.load.run(server, *turn.load_options(), under=record)
    script = ["perf", "script", "--input", str(file), "--ns", "--no-inline",
              "--fields", "time,event,ip,sym,dso"]  # fmt: skip
    try:
        done = subprocess.run(script, capture_output=True, timeout=SCRIPT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CannotProfile("perf script takes too long") from error
    lines = done.stdout.decode(errors="replace").splitlines()
    counts = counted(lines, answer["began"], answer["began"] + answer["seconds"])
    if not counts:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise CannotProfile(said[-1] if said else "perf took no samples")
    return Profile(
        turn.scenario.name, server.peer.name, server.variant, counts.total(), shares(counts)
    )
