"""The servers that are compared, and the life of each as a child process on one CPU.

Every child ends: when its block is left it is told to, killed if it does not listen, and it has
an alarm of its own in case this process is killed first.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Self

import cpus
import programs
import serve

START_SECONDS = 20.0
STOP_SECONDS = 3.0

Command = Callable[[], list[str]]


class CannotServe(Exception):
    """A server did not start, or is gone; the text says why and, where known, the remedy."""


def _python(kind: str) -> Command:
    script = str(Path(serve.__file__).resolve())
    return lambda: [sys.executable, script, kind]


def _program(name: str) -> Command:
    return lambda: [str(programs.build(name))]


SERVERS: dict[str, Command] = {
    "limit-uring": _program("limit_uring"),
    "limit-epoll": _program("limit_epoll"),
    **{kind: _python(kind) for kind in serve.KINDS},
}


class Server:
    """A server that runs on one CPU until its `with` block is left.

    `lifetime` seconds are the most it can run. Raises CannotServe if it does not start.
    """

    def __init__(self, name: str, cpu: int, lifetime: int) -> None:
        try:
            command = SERVERS[name]()
        except programs.CannotBuild as error:
            raise CannotServe(str(error)) from error
        self.name = name
        self._complaints: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115, see stop()
        self._child = _spawn(command, cpu, lifetime, self._complaints)
        self.pid = self._child.pid
        try:
            self.port = self._read_port()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def cpu_seconds(self) -> float:
        """CPU time that it has used, while it is alive."""
        return cpus.cpu_seconds(self.pid)

    def is_alive(self) -> bool:
        """Has it not ended?"""
        return self._child.poll() is None

    def last_words(self) -> str:
        """The last line it wrote to standard error, or nothing."""
        self._complaints.seek(0)
        lines = self._complaints.read().strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """End it, and wait until it has. May be called again."""
        end(self._child)
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._complaints.close()

    def _read_port(self) -> int:
        line = _first_line(self._child, START_SECONDS)
        if line.isdigit():
            return int(line)
        end(self._child)
        raise CannotServe(self.last_words() or f"{self.name} did not say its port")


def _spawn(
    command: list[str], cpu: int, lifetime: int, complaints: IO[str]
) -> subprocess.Popen[bytes]:
    def pin() -> None:
        os.sched_setaffinity(0, {cpu})
        signal.alarm(lifetime)  # survives exec; its default is to end the process

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        bufsize=0,
        preexec_fn=pin,
        start_new_session=True,  # Ctrl-C comes to us alone: we end the children in order
    )


def _first_line(child: subprocess.Popen[bytes], seconds: float) -> str:
    """What comes before the first line's end, the child's end or the time's."""
    assert child.stdout is not None
    line = b""
    deadline = time.monotonic() + seconds
    while not line.endswith(b"\n"):
        left = max(0.0, deadline - time.monotonic())
        ready, _, _ = select.select([child.stdout], [], [], left)
        byte = child.stdout.read(1) if ready else b""
        if not byte:
            break
        line += byte
    return line.decode(errors="replace").strip()


def end(child: subprocess.Popen[bytes]) -> None:
    """Tell a child to end, then make it."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
