"""ringnet: an event-driven networking engine, io_uring first.

class Echo(ringnet.EventHandler):
    def on_traffic(self, conn):
        conn.write(conn.next())

ringnet.run(Echo(), "tcp://127.0.0.1:9000")
"""

from __future__ import annotations

from .engine.connection import Connection
from .engine.errors import (
    AddressError,
    BackendUnavailable,
    BindError,
    BufferLimitExceeded,
    ConnectionClosed,
    EngineStateError,
    OptionError,
    QueueFull,
    RingnetError,
    ShortBuffer,
    SystemRefusal,
    UsageError,
    WrongThread,
)
from .engine.handler import Action, EventHandler
from .engine.options import Options
from .engine.reactor import Reactor
from .engine.server import Engine, run
from .engine.timers import Timer

__version__ = "0.1.0"

__all__ = [
    "Action",
    "AddressError",
    "BackendUnavailable",
    "BindError",
    "BufferLimitExceeded",
    "Connection",
    "ConnectionClosed",
    "Engine",
    "EngineStateError",
    "EventHandler",
    "OptionError",
    "Options",
    "QueueFull",
    "Reactor",
    "RingnetError",
    "ShortBuffer",
    "SystemRefusal",
    "Timer",
    "UsageError",
    "WrongThread",
    "run",
]
