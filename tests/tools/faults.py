"""What may go wrong beneath a backend, made to happen from a seed, on every backend.

    RINGNET_FAULTS=SEED python -m pytest ...        any tests, with faults
    sh tests/faults.sh [SEED]                       the run that CI makes

Beneath the engine's log is a disk that is full now and then: a handler that raises, after the line
was heard by all others. `refuse_memory` makes one allocation fail, the nth from then on, whoever
asks: `test_chosen_allocations.py` chooses it by the seed.

The fallbacks get sockets that do less than they are asked for or fail in passing (short reads and
writes, EAGAIN, EINTR, ENOBUFS, ECONNABORTED of accept, a slow close), and pollers that hold back,
reorder and make up readiness. What a socket refused though it was ready is told again, as an edge
would be. io_uring gets its own beneath the C core: `uring_faults.c`, where the extension was linked
with it. Nothing is done that a real system could not do.

Each test begins with a seed of its own, made of the run's seed and the test's name, so that one
test alone replays.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import logging
import random
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from ringnet.fallback import packets, pollers, sockets
from ringnet.fallback.pollers import EDGE, READ, WRITE, Poller

# In the order of `enum kind` in uring_chance.h.
URING_KINDS = (
    "short read",
    "short write",
    "passing error",
    "no receive buffer",
    "polled first",
    "failed accept",
    "reordered completions",
    "late cancellation",
    "small ring",
    "interrupted wait",
    "slow close",
)
KINDS = (
    "short read",
    "short write",
    "passing error",
    "failed accept",
    "held back",
    "reordered readiness",
    "made-up readiness",
    "slow close",
)
LOG = "log handler"
RATES = (0.0, 0.01, 0.1, 0.33)

counts: Counter[str] = Counter()
_seed = 0
_threads = 0
_epoch = 0
_own = threading.local()


def begin(seed: int) -> None:
    """From here on faults of this seed, in every thread; 0: none."""
    global _seed, _threads, _epoch
    _seed, _threads, _epoch = seed, 0, _epoch + 1
    core = uring_core()
    if core is not None:
        core.rn_faults_seed(ctypes.c_uint64(seed))


def is_on() -> bool:
    return _seed != 0


def seed_of(run: int, test: str) -> int:
    """The seed of one test in a run."""
    return run * 1_000_003 + zlib.crc32(test.encode()) if run else 0


def uring_core() -> Any:
    """The library with uring_faults.c in it, or None where it was linked without."""
    try:
        library = ctypes.CDLL(importlib.import_module("ringnet.uring._ring").__file__)
    except ImportError:
        return None
    if not hasattr(library, "rn_faults_seed"):
        return None
    library.rn_faults_count.restype = ctypes.c_uint64
    return library


def happened() -> dict[str, int]:
    """How often each kind has happened, of both grounds."""
    found = {f"fallback: {kind}": counts[kind] for kind in KINDS}
    found[f"engine: {LOG}"] = counts[LOG]
    core = uring_core()
    if core is not None:
        found |= {
            f"io_uring: {kind}": core.rn_faults_count(i) for i, kind in enumerate(URING_KINDS)
        }
    return found


def current_seed() -> int:
    """What the test that runs was begun with; 0 without faults."""
    return _seed


@contextmanager
def refuse_memory(nth: int, times: int = 1) -> Iterator[None]:
    """Have the nth allocation of Python from here on fail, in whichever thread it is."""
    import _testcapi  # of CPython

    _testcapi.set_nomemory(nth, nth + times)
    try:
        yield
    finally:
        _testcapi.remove_mem_hooks()


def _log_on_a_full_disk() -> None:
    """The last handler of the engine's loggers raises."""
    call = logging.Logger.callHandlers

    def call_and_fail(self: logging.Logger, record: logging.LogRecord) -> None:
        call(self, record)
        if self.name.partition(".")[0] == "ringnet" and _happens(LOG):
            raise OSError(errno.ENOSPC, "a log handler found the disk full")

    logging.Logger.callHandlers = call_and_fail  # type: ignore[method-assign]


def _chance() -> random.Random:
    global _threads
    if getattr(_own, "epoch", None) != _epoch:
        _own.epoch = _epoch
        _own.random = random.Random(_seed + 7919 * _threads)
        _own.rates = {kind: _own.random.choice(RATES) for kind in (*KINDS, LOG)}
        _threads += 1
    return _own.random  # type: ignore[no-any-return]


def _happens(kind: str) -> bool:
    if not _seed:
        return False
    chance = _chance()
    if chance.random() >= _own.rates[kind]:
        return False
    counts[kind] += 1
    return True


def _part(size: int) -> int:
    """Less than `size`, which is 2 or more."""
    return _chance().randrange(1, min(size, 1 << _chance().randrange(1, 15)) + 1) if size > 1 else 1


class FaultySocket(socket.socket):
    """A socket of the fallback."""

    by_fd: ClassVar[dict[int, FaultySocket]] = {}

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.by_fd[self.fileno()] = self

    def close(self) -> None:
        if self.fileno() != -1 and _happens("slow close"):
            time.sleep(_chance().random() * 0.002)
        self.by_fd.pop(self.fileno(), None)
        super().close()

    def _fail(self, mask: int, *more: int) -> None:
        if _happens("passing error"):
            number = _chance().choice([errno.EAGAIN, errno.EINTR, *more])
            if number != errno.ENOBUFS:  # that is none of the socket's own room
                _owe(self.fileno(), mask)
            raise OSError(number, "in passing")

    def send(self, data: Any, flags: int = 0) -> int:
        is_stream = self.type == socket.SOCK_STREAM
        self._fail(WRITE, *([errno.ENOBUFS] if is_stream else []))
        if is_stream and len(data) > 1 and _happens("short write"):
            _owe(self.fileno(), WRITE)
            data = memoryview(data)[: _part(len(data) - 1)]
        return super().send(data, flags)

    def sendto(self, *arguments: Any) -> int:  # type: ignore[override]
        self._fail(WRITE)
        return super().sendto(*arguments)

    def recv_into(self, room: Any, *more: Any) -> int:  # type: ignore[override]
        self._fail(READ)
        if len(room) > 1 and _happens("short read"):
            _owe(self.fileno(), READ)
            room = memoryview(room)[: _part(len(room) - 1)]
        return super().recv_into(room, *more)

    def recvmsg_into(self, *arguments: Any) -> Any:  # type: ignore[override]
        self._fail(READ)
        return super().recvmsg_into(*arguments)

    def accept(self) -> Any:
        if _happens("failed accept"):
            number = _chance().choice([errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EAGAIN])
            raise OSError(number, "the newcomer was gone")
        return super().accept()


class Sockets:
    """The module `socket`, with other sockets."""

    socket = FaultySocket

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


class FaultyPoller:
    """A poller around a real one."""

    def __init__(self, real: Poller) -> None:
        self._real = real
        self.name = real.name
        self.capacity = real.capacity
        self.has_edges = real.has_edges
        self.interest: dict[int, int] = {}
        self.owed: dict[int, int] = {}  # what is ready, and has to be told (again)

    def change(self, fd: int, old: int, new: int) -> None:
        self._real.change(fd, old, new)
        if new:
            self.interest[fd] = new
        else:
            self.interest.pop(fd, None)
            self.owed.pop(fd, None)

    def wait(self, timeout: float | None, most: int) -> Iterable[tuple[int, int]]:
        _own.poller = self
        owed = self._take_owed()
        ready: dict[int, int] = {}
        for fd, mask in self._real.wait(0 if owed else timeout, most):
            ready[fd] = ready.get(fd, 0) | mask
        for fd in [fd for fd in ready if fd in FaultySocket.by_fd]:
            if _happens("held back"):
                self.owed[fd] = self.owed.get(fd, 0) | ready.pop(fd)
        for fd, mask in owed.items():
            ready[fd] = ready.get(fd, 0) | mask
        self._make_up(ready)
        told = list(ready.items())
        if len(told) > 1 and _happens("reordered readiness"):
            _chance().shuffle(told)
        return told

    def _take_owed(self) -> dict[int, int]:
        owed, self.owed = self.owed, {}
        masks = {fd: mask & self._may_be_told(fd) for fd, mask in owed.items()}
        return {fd: mask for fd, mask in masks.items() if mask & 0xFFFFFFFF}

    def _may_be_told(self, fd: int) -> int:
        """Errors and ends always; of what may only break, some pollers tell it as readable."""
        wanted = self.interest.get(fd, 0)
        return wanted | ~(READ | WRITE) | (READ if wanted == EDGE else 0)

    def _make_up(self, ready: dict[int, int]) -> None:
        """For reading only: nothing is written or connected before the system says so."""
        known = [fd for fd in self.interest if fd in FaultySocket.by_fd]
        if known and _happens("made-up readiness"):
            fd = _chance().choice(known)
            if self.interest[fd] & READ:
                ready[fd] = ready.get(fd, 0) | READ

    def close(self) -> None:
        self._real.close()


def _owe(fd: int, mask: int) -> None:
    poller = getattr(_own, "poller", None)
    if poller is not None:
        poller.owed[fd] = poller.owed.get(fd, 0) | mask


def install() -> None:
    """Put it beneath the fallbacks and the log, for the life of the process."""
    _log_on_a_full_disk()
    sockets.socket = packets.socket = Sockets()  # type: ignore[attr-defined, assignment]
    for name, kind in list(pollers.POLLERS.items()):
        pollers.POLLERS[name] = _maker(kind)  # type: ignore[assignment]


def _maker(kind: type[Poller]) -> Any:
    def make(*arguments: Any) -> FaultyPoller:
        return FaultyPoller(kind(*arguments))

    return make
