"""The life of a server: a child process on CPUs of its own, with a folder of its own.

Every child ends. When its block is left, it is terminated, and killed if that does not help; an
alarm of its own ends it in case this process is killed first.
"""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import IO, Self

from . import cpus
from .programs import CannotBuild, pinned
from .roster import Ask, Launch, Peer

START_SECONDS = 20.0
STOP_SECONDS = 3.0
RETRY_SECONDS = 0.002


class CannotServe(Exception):
    """A server did not start, or is gone; the message has the reason and a known remedy."""


class Server:
    """A server that runs on some CPUs until its `with` block is left.

    It can run for at most `lifetime` seconds. Raises CannotServe if it does not start.
    """

    def __init__(
        self,
        peer: Peer,
        role: str,
        on: Collection[int],
        lifetime: int,
        variant: str = "",
        target: int = 0,
    ) -> None:
        self.peer, self.variant = peer, variant
        self._folder = tempfile.TemporaryDirectory(prefix="ringnet-perf-")
        self._complaints: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115, see stop()
        self._child: subprocess.Popen[bytes] | None = None
        try:
            launch = peer.start(Ask(role, Path(self._folder.name), variant, target))
            self.started = time.monotonic()
            self._child = _spawn(launch, on, lifetime, self._complaints)
            self.pid = self._child.pid
            self.port = self._awaited_port(launch)
        except CannotBuild as error:
            self.stop()
            raise CannotServe(str(error)) from error
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def name(self) -> str:
        """The peer and its variant, for people."""
        return f"{self.peer.name} {self.variant}".strip()

    def pids(self) -> list[int]:
        """Its process, and the children of that."""
        return [self.pid, *cpus.descendants(self.pid)]

    def last_words(self) -> str:
        """The last line it wrote to standard error, or nothing."""
        self._complaints.seek(0)
        lines = self._complaints.read().strip().splitlines()
        return lines[-1] if lines else ""

    def stop(self) -> None:
        """End it, and wait for that. May be called again."""
        if self._child is not None:
            end(self._child)
            if self._child.stdout is not None:
                self._child.stdout.close()
        self._complaints.close()
        self._folder.cleanup()

    def _awaited_port(self, launch: Launch) -> int:
        assert self._child is not None
        if launch.port is not None:
            return self._listening(launch.port)
        line = first_line(self._child, START_SECONDS)
        found = port_in(line)
        if found is None:
            end(self._child)
            raise CannotServe(self.last_words() or f"{self.name} did not say its port")
        return found

    def _listening(self, port: int) -> int:
        assert self._child is not None
        while time.monotonic() < self.started + START_SECONDS and self._child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except OSError:
                time.sleep(RETRY_SECONDS)
            else:
                return port
        end(self._child)
        raise CannotServe(self.last_words() or f"{self.name} does not listen")


def port_in(line: str) -> int | None:
    """The port in the first line of a server: a number by itself, or the end of an address."""
    found = re.search(r"(?:^|:)(\d{1,5})\b", line)
    return int(found[1]) if found else None


def _spawn(
    launch: Launch, on: Collection[int], lifetime: int, complaints: IO[str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        pinned(on, lifetime, launch.command),
        env={**os.environ, **launch.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=complaints,
        bufsize=0,
        start_new_session=True,  # Ctrl-C comes to us alone: we end the children in order
    )


def first_line(child: subprocess.Popen[bytes], seconds: float) -> str:
    """What arrives before the end of the first line, of the child or of the time."""
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
    """Terminate a child and its children, and kill what is left."""
    if child.poll() is None:
        _signal(child, signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
    _signal(child, signal.SIGKILL)  # also what it left behind
    child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(child.pid, number)  # it leads a session of its own
    except ProcessLookupError:
        pass
