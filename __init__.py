"""ringnet: an event-driven networking engine, io_uring first.

class Echo(ringnet.EventHandler):
    def on_traffic(self, conn):
        conn.write(conn.next())

ringnet.run(Echo(), "tcp://127.0.0.1:9000")
"""

from __future__ import annotations

from .engine.action import Action
from .engine.client import Client
from .engine.conn import Conn
from .engine.connection import Connection
from .engine.datagram import Datagram
from .engine.errors import (
    AddressError,
    BackendUnavailable,
    BindError,
    BufferLimitExceeded,
    ConnectionClosed,
    EngineStateError,
    EngineStopped,
    OptionError,
    PoolClosed,
    PoolOverload,
    QueueFull,
    RingnetError,
    ShortBuffer,
    SystemRefusal,
    UsageError,
    WrongThread,
)
from .engine.eventloop import EventLoop
from .engine.handler import EventHandler
from .engine.linked_buffer import LinkedBuffer
from .engine.listener import Listener
from .engine.mixed_buffer import MixedBuffer
from .engine.multipool import MultiPool
from .engine.options import Options
from .engine.packets import PacketConnection
from .engine.ring_buffer import RingBuffer
from .engine.run import run
from .engine.server import Engine
from .engine.timers import Timer
from .engine.workers import WorkerPool

__version__ = "0.1.0"

__all__ = [
    "Action",
    "AddressError",
    "BackendUnavailable",
    "BindError",
    "BufferLimitExceeded",
    "Client",
    "Conn",
    "Connection",
    "ConnectionClosed",
    "Datagram",
    "Engine",
    "EngineStateError",
    "EngineStopped",
    "EventHandler",
    "EventLoop",
    "LinkedBuffer",
    "Listener",
    "MixedBuffer",
    "MultiPool",
    "OptionError",
    "Options",
    "PacketConnection",
    "PoolClosed",
    "PoolOverload",
    "QueueFull",
    "RingBuffer",
    "RingnetError",
    "ShortBuffer",
    "SystemRefusal",
    "Timer",
    "UsageError",
    "WorkerPool",
    "WrongThread",
    "run",
]
