"""Which reactor gets the next accepted connection. gnet: WithLoadBalancing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .reactor import Reactor


class Balancer(Protocol):
    """Asked on the acceptor's thread, once for each accepted connection."""

    def pick(self) -> Reactor:
        """The reactor that will own the connection for all its life."""


class RoundRobin:
    """One after the other. gnet: RoundRobin."""

    def __init__(self, reactors: Sequence[Reactor]) -> None:
        self.pick = cycle(reactors).__next__
