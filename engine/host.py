"""What reactors need of the engine that they belong to.

Reactors stand below engines: nothing of theirs imports one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from .action import Handler
from .backend import Backend
from .balancer import Balancing
from .connection import Connection
from .logs import EngineLog, Log
from .options import Options
from .origin import Origin
from .owner import Budget
from .resolvers import Resolvers


class Host(Budget, Protocol):
    """An engine, as its reactors see it."""

    options: Options
    handler: Handler
    log: Log
    logging: EngineLog
    origin: Origin  # of the connections that the engine dials itself
    resolvers: Resolvers
    balancing: Balancing[Any]
    max_connections: int

    def make_backend(self) -> Backend: ...
    def count_connections(self) -> int: ...
    @property
    def dial_for(self) -> Callable[..., Future[Connection]]: ...
    @property
    def enroll_for(self) -> Callable[..., Future[Connection]]: ...
    def fall_back(self, error: BaseException, /) -> bool: ...

    # How it ends

    def needs(self, reactor: Any, /) -> bool: ...
    def reactor_ended(self, reactor: Any, failure: BaseException | None, /) -> None: ...
    def end_with(self, wish: BaseException, /) -> None: ...
    def request_stop(self, timeout: float | None = None) -> None: ...
    def wake_all(self) -> None: ...

    # Who accepts, and who rests

    @property
    def is_resting(self) -> bool: ...
    def note_accepting(self, reactor: Any, accepts: bool, /) -> None: ...
    def note_resting(self, reactor: Any, rests: bool, /) -> None: ...
    def connection_ended(self) -> None: ...
