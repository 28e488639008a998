"""What reactors need from the engine that they belong to.

Reactors are a layer below engines, and never import one.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from ..base.action import Handler
from ..base.balancer import Balancing
from ..base.contract import Backend
from ..base.logs import EngineLog, Log
from ..base.options import Options
from ..connection.connection import Connection
from ..connection.origin import Origin
from ..connection.owner import SharedBudget
from .resolvers import Resolvers


class HostBudget(SharedBudget, Protocol):
    """What the reactors of an engine share: limits, and which of them accept or rest."""

    @property
    def max_connections(self) -> int: ...
    @property
    def is_full(self) -> bool: ...
    @property
    def is_resting(self) -> bool: ...
    def note_accepting(self, reactor: Any, accepts: bool, /) -> None: ...
    def note_resting(self, reactor: Any, rests: bool, /) -> None: ...
    def connection_ended(self) -> None: ...


class Siblings(Protocol):
    """All reactors of an engine, as one of them sees the others."""

    balancing: Balancing[Any]

    def wake_all(self) -> None: ...


class Connector(Protocol):
    """Starts connections on a reactor."""

    @property
    def dial(self) -> Callable[..., Future[Connection]]: ...
    @property
    def enroll(self) -> Callable[..., Future[Connection]]: ...


class Host(Protocol):
    """An engine, as its reactors see it."""

    options: Options
    handler: Handler
    log: Log
    logging: EngineLog
    origin: Origin  # of the connections that the engine itself dials
    resolvers: Resolvers
    is_forked: bool

    @property
    def budget(self) -> HostBudget: ...
    @property
    def group(self) -> Siblings: ...
    @property
    def dialer(self) -> Connector: ...
    def make_backend(self) -> Backend: ...

    # How it ends

    def needs(self, reactor: Any, /) -> bool: ...
    def reactor_ended(self, reactor: Any, failure: BaseException | None, /) -> None: ...
    def end_with(self, interrupt: BaseException, /) -> None: ...
    def request_stop(self, timeout: float | None = None) -> None: ...
