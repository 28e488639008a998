"""perf/: a server runs on its CPUs from its first instruction, and not for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from measuring.programs import pinned


def test_a_command_is_pinned_before_it_runs_and_has_an_alarm() -> None:
    cpu = max(os.sched_getaffinity(0))
    code = (
        "import os, signal; print(os.sched_getaffinity(0), 0 < signal.alarm(0) <= 30, os.getppid())"
    )
    command = pinned({cpu}, 30, [sys.executable, "-c", code])
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == f"{{{cpu}}} True {os.getpid()}"


def test_a_command_that_is_not_there_is_told_of() -> None:
    done = subprocess.run(
        pinned({0}, 1, ["/nowhere/x"]), capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 127
    assert "/nowhere/x" in done.stderr


def test_a_command_that_nobody_ends_is_ended() -> None:
    child = subprocess.Popen(pinned(os.sched_getaffinity(0), 1, ["sleep", "50"]))
    assert child.wait(30) == -signal.SIGALRM
