"""Choosing the reactor for each accepted connection. gnet: WithLoadBalancing.

A balancer is called on the acceptor's thread, once for each accepted connection; the reactor that
it picks owns the connection for its whole life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from operator import attrgetter
from typing import Any, Generic, Protocol, TypeVar
from zlib import crc32

from .errors import UsageError, shown


class HasLoad(Protocol):
    """What a balancer sees of a reactor."""

    @property
    def load(self) -> int: ...


R = TypeVar("R", bound=HasLoad)
# Called with the reactors and the peer's address, in the form that `socket.accept` returns.
Balancer = Callable[[Sequence[R], Any], R]


def round_robin() -> Balancer[Any]:
    """One after the other. gnet: RoundRobin."""
    numbers = count()
    return lambda reactors, address: reactors[next(numbers) % len(reactors)]


def least_connections() -> Balancer[Any]:
    """The one with the fewest connections. gnet: LeastConnections."""
    return lambda reactors, address: min(reactors, key=attrgetter("load"))


def source_hash() -> Balancer[Any]:
    """The same reactor for all connections of one host. gnet: SourceAddrHash."""
    return lambda reactors, address: reactors[crc32(_host(address)) % len(reactors)]


def _host(address: Any) -> bytes:
    host = address[0] if isinstance(address, tuple) else address
    return host if isinstance(host, bytes) else str(host).encode()


BALANCERS: dict[str, Callable[[], Balancer[Any]]] = {
    "round_robin": round_robin,
    "least_connections": least_connections,
    "source_hash": source_hash,
}


class HasFace(Protocol):
    """A reactor."""

    @property
    def face(self) -> HasLoad: ...


T = TypeVar("T", bound=HasFace)


class Balancing(Generic[T]):
    """A balancer, and the reactors that it chooses among; it sees their public event loops."""

    def __init__(self, chosen: str | Balancer[Any], reactors: Sequence[T]) -> None:
        self._balance = BALANCERS[chosen]() if isinstance(chosen, str) else chosen
        self._reactors = tuple(reactors)
        self._faces = tuple(reactor.face for reactor in reactors)
        self.has_choice = len(self._reactors) > 1 or not isinstance(chosen, str)
        self.needs_address = not isinstance(chosen, str) or chosen == "source_hash"

    def pick(self, address: Any) -> T:
        """The reactor for a new connection. Raises UsageError if the balancer returns none."""
        found = self._balance(self._faces, address)
        for reactor in self._reactors:
            if reactor.face is found:
                return reactor
        raise UsageError(f"load_balancing returned {shown(found)}: return one of the reactors")
