"""The examples as programs of their own, for real clients to talk to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine_tools import PATIENCE, WAIT
from places import ROOT

EXAMPLES = ROOT / "examples"
PACKAGES = {
    "curl": "curl",
    "wrk": "wrk",
    "dig": "dnsutils",
    "socat": "socat",
    "redis-cli": "redis-tools",
    "redis-benchmark": "redis-tools",
}


@contextmanager
def example(
    name: str, backend: str, *more: str, end: signal.Signals = signal.SIGTERM
) -> Iterator[int]:
    """Run an example on a port of its own, then end it by a signal and see it end well."""
    with example_at(name, "tcp://127.0.0.1:0", backend, *more, end=end) as address:
        yield int(address.rpartition(":")[2])


@contextmanager
def example_at(
    name: str, at: str, backend: str, *more: str, end: signal.Signals = signal.SIGTERM
) -> Iterator[str]:
    """Run an example on an address, and give the one it was really bound to."""
    command = [sys.executable, f"{EXAMPLES / name}.py", at, "--backend", backend]
    process = subprocess.Popen(
        [*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=WAIT)[1])
        assert line.startswith(f"{name} on {at.partition(':')[0]}://")
        assert f"({backend}: " in line
        yield line.split()[2]
        process.send_signal(end)
        _, err = process.communicate(timeout=WAIT)
        assert err == "", err
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


def run(program: str, *arguments: str) -> str:
    """What a program prints. One that is missing fails the test and says how to get it."""
    if shutil.which(program) is None:
        raise AssertionError(f"{program} is missing: apt-get install {PACKAGES[program]}")
    own = dict(os.environ)
    if program != sys.executable:
        own.pop("LD_PRELOAD", None)  # of a sanitizer, which others are not built for
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=50 * PATIENCE, env=own
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
