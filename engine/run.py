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

    Signals are handled where this is called on the main thread. Warnings are printed to standard
    error unless the program has said where the log shall go. Raises what `Engine` and
    `Engine.start` raise, and what made a reactor fail. gnet: Run.
    """
    engine = Engine(handler, *addresses, **options)
    be_helpful(engine.logging)
    asked: list[int] = []
    with _Bell() as bell, _signals(asked, bell):
        engine.start()
        announcer = threading.Thread(
            target=_announce_end, args=(engine, bell), name="ringnet-wait", daemon=True
        )
        announcer.start()
        stops = 0
        while not engine._ended.is_set():
            bell.wait()
            for _ in asked[stops:]:
                engine.request_stop(0 if stops else None)
                stops += 1
        announcer.join()
        engine.wait()


class _Bell:
    """Wakes the main thread. Waiting for a lock could sleep through a signal that comes just before
    it sleeps: Python's handler would run only after it. The system's handler writes here at once.
    """

    def __enter__(self) -> _Bell:
        self._here, self.there = socket.socketpair()
        self.there.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._here.close()
            self.there.close()

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a handler of a signal may interrupt its own thread

    def wait(self) -> None:
        self._here.recv(4096)

    def ring(self) -> None:
        with self._lock, suppress(OSError):  # full is as good, and closed is over
            self.there.send(b"!")


def _announce_end(engine: Engine, bell: _Bell) -> None:
    engine._ended.wait()
    bell.ring()


@contextmanager
def _signals(asked: list[int], bell: _Bell) -> Iterator[None]:
    """Note the signals that end a program, where that can be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        bell.ring()

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    fd = signal.set_wakeup_fd(bell.there.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(fd)
        for number, action in before.items():
            signal.signal(number, action)
