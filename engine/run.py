"""`run`: an engine that serves until it is stopped, or a signal comes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
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
    requests: SimpleQueue[bool] = SimpleQueue()  # its put may interrupt itself
    with _signals(requests):
        engine.start()
        threading.Thread(
            target=_announce_end, args=(engine, requests), name="ringnet-wait", daemon=True
        ).start()
        stops = 0
        while requests.get():
            engine.request_stop(0 if stops else None)
            stops += 1
        engine.wait()


def _announce_end(engine: Engine, requests: SimpleQueue[bool]) -> None:
    engine._ended.wait()
    requests.put(False)


@contextmanager
def _signals(requests: SimpleQueue[bool]) -> Iterator[None]:
    """Turn the signals that end a program into requests, where that can be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        requests.put(True)

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
