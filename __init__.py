"""ringnet: an event-driven networking engine, io_uring first.

class Echo(ringnet.EventHandler):
    def on_traffic(self, conn):
        conn.write(conn.next())

ringnet.run(Echo(), "tcp://127.0.0.1:9000")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engine.base.action import Action
from .engine.base.errors import (
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
from .engine.base.options import Options
from .engine.base.timers import Timer
from .engine.buffers.linked_buffer import LinkedBuffer
from .engine.buffers.mixed_buffer import MixedBuffer
from .engine.buffers.ring_buffer import RingBuffer
from .engine.connection.conn import Conn
from .engine.connection.connection import Connection
from .engine.connection.datagram import Datagram
from .engine.connection.listener import Listener
from .engine.connection.owner import LoopFace
from .engine.connection.packets import PacketConnection
from .engine.pool.multipool import MultiPool
from .engine.pool.workers import WorkerPool
from .engine.server.client import Client
from .engine.server.engine import Engine
from .engine.server.handler import EventHandler
from .engine.server.run import run

if TYPE_CHECKING:
    # For annotations: what `conn.loop` is. Connections name no class of the floor above.
    EventLoop = LoopFace[Connection]
else:
    from .engine.reactor.eventloop import EventLoop

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
