"""`run`: an engine that serves until it is stopped, or a signal comes."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from .handler import EventHandler
from .logs import be_helpful
from .server import Engine

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(handler: EventHandler, *addresses: str, **options: Any) -> None:
    """Serve until the engine is stopped, or SIGINT or SIGTERM comes; a second one ends at once.

    The first reactor runs on the calling thread, so with one reactor no other thread is needed.
    Signals are handled where that is the main thread. A signal handler of your own runs between
    two steps of that reactor: let it only call `execute` of a loop, `async_write` or `wake` of a
    connection, or `stop` of the engine, which wait for nothing there, and raise nothing.

    Warnings are printed to standard error unless the program has said where the log shall go.
    Raises what `Engine` and `Engine.start` raise, and what made a reactor fail. gnet: Run.
    """
    engine = Engine(handler, *addresses, **options)
    be_helpful(engine.logging)
    if threading.current_thread() is not threading.main_thread():
        engine.run_here()
        return
    with _Bell(engine) as bell, _signals(bell):
        engine.run_here(bell.fileno(), bell.heed)


class _Bell:
    """Brings signals to a reactor, which watches it.

    A reactor that sleeps could not run Python's handler of a signal, and one that is about to
    sleep might do so before it: but the system's handler writes here at once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked = 0  # signals that came
        self._heeded = 0

    def __enter__(self) -> _Bell:
        self._here, self.there = socket.socketpair()
        self._here.setblocking(False)
        self.there.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self.there.close()

    def fileno(self) -> int:
        """What to watch."""
        return self._here.fileno()

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Python's handler of a signal."""
        self._asked += 1
        with suppress(BlockingIOError):  # full is as good
            self.there.send(b"!")  # should `heed` have read already what the system wrote

    def heed(self) -> None:
        """The reactor has heard it."""
        with suppress(BlockingIOError):
            self._here.recv(4096)
        while self._heeded < self._asked:
            self._engine.request_stop(0 if self._heeded else None)
            self._heeded += 1


@contextmanager
def _signals(bell: _Bell) -> Iterator[None]:
    """Have the signals that end a program ring the bell."""
    before = {number: signal.signal(number, bell.ask) for number in SIGNALS}
    fd = signal.set_wakeup_fd(bell.there.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd)
        for number, action in before.items():
            signal.signal(number, signal.SIG_DFL if action is None else action)
