"""What a connection needs from the reactor that owns it, and from its engine.

Connections are a layer below reactors, and never import one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from ..base.contract import Backend, Memory
from ..base.logs import ThrottledLog
from ..base.options import Options
from ..base.source import LocalAddress
from ..base.timers import Timer

C = TypeVar("C")


class Forked(Protocol):
    """An engine; a forked child has only a copy of it."""

    is_forked: bool


class SharedBudget(Protocol):
    """The memory that an engine's connections share."""

    @property
    def buffered(self) -> int: ...
    def may_buffer(self, more: int, /) -> bool: ...


class HeldQueue(Protocol):
    """Connections whose reading is held until there is room: see `held.py`."""

    def __len__(self) -> int: ...
    def add(self, conn: Any, /, *, is_full: bool = False) -> None: ...
    def discard(self, conn: Any, /) -> None: ...
    def forget(self, conn: Any, /) -> None: ...
    def may_hold(self, conn: Any, /) -> bool: ...


class LoopFace(Protocol[C]):
    """What `conn.loop` offers to users, whose connections are of class `C`: see `eventloop.py`."""

    def execute(self, call: Callable[[], object]) -> None: ...
    def schedule(self, delay: float, call: Callable[[], object]) -> Timer: ...
    def repeat(self, every: float, call: Callable[[], object]) -> Timer: ...
    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[C]: ...
    def enroll(self, sock: socket.socket, context: Any = None) -> Future[C]: ...
    @property
    def load(self) -> int: ...
    @property
    def is_current(self) -> bool: ...
    @property
    def is_stopping(self) -> bool: ...
    @property
    def number(self) -> int: ...


class Owner(Protocol):
    """A reactor, as its connections see it."""

    ident: int  # its thread; 0 if it does not run
    options: Options
    backend: Backend
    memory: Memory
    throttled: ThrottledLog
    buffered: int  # bytes that wait in memory, in both directions, beyond the stages
    buffer_share: int  # up to here `max_buffered` needs no check against the other reactors
    write_room: int  # bytes that a connection may write before its waiting bytes are checked

    @property
    def face(self) -> LoopFace[Any]: ...
    @property
    def engine(self) -> Forked: ...
    @property
    def budget(self) -> SharedBudget: ...
    @property
    def held(self) -> HeldQueue: ...
    def sent(self, handle: int) -> int: ...
    def post(self, call: Callable[..., object], *arguments: Any) -> None: ...
    def guard(self, call: Callable[..., object], *arguments: Any) -> None: ...
    def add_timer(self, delay: float, call: Callable[[], object]) -> Timer: ...
    def traffic(self, conn: Any, /) -> None: ...
    def call_again(self, conn: Any, /) -> None: ...
    def call_on_writable(self, conn: Any, /) -> None: ...
    def watch_close(self, conn: Any, /) -> None: ...
