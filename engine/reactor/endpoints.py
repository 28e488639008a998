"""The datagram sockets that a reactor listens on, and their events."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Protocol

from ...completion import NAME_ROOM, NOW
from ...sockaddr import ask_for_local
from ..base.action import Action, check_action
from ..base.errors import network_error
from ..connection.datagram import Datagram, WildcardDatagram, expire
from ..connection.endpoint import Endpoint
from ..connection.origin import Origin
from ..connection.owner import Owner
from .free_handles import HasHandles

if TYPE_CHECKING:
    from ..base.logs import Log
    from ..connection.connection import Connection
    from .callbacks import Callbacks
    from .host import Host
    from .streams import Streams


class EndpointsLoop(Owner, HasHandles, Protocol):
    """A reactor, as its datagram sockets see it."""

    log: Log
    callbacks: Callbacks
    connections: dict[int, Connection]

    @property
    def engine(self) -> Host: ...
    @property
    def streams(self) -> Streams: ...
    def failed(self, text: str, *arguments: object, error: BaseException) -> None: ...


class Endpoints:
    """The datagram sockets that a reactor listens on."""

    def __init__(self, reactor: EndpointsLoop) -> None:
        self._reactor = reactor
        self._open: dict[int, Endpoint] = {}
        self.truncated = 0  # datagrams that were longer than max_datagram
        self.refused = 0  # datagrams that could not be sent

    @property
    def is_open(self) -> bool:
        """Whether there is a socket that has not had its final event."""
        return bool(self._open)

    def listen(self, fd: int, origin: Origin) -> None:
        """Receive from a bound descriptor, which the reactor owns unless this raises."""
        handle = self._reactor.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and listeners need")
        sock = socket.socket(fileno=fd)
        try:
            tells_local = ask_for_local(sock)
            endpoint = Endpoint(self._reactor, handle, sock, origin)
            endpoint.kind = WildcardDatagram if tells_local else Datagram
            self._open[handle] = endpoint
            self._reactor.owners[handle] = self
            self._reactor.backend.adopt_packets(handle, endpoint.fd)
        except BaseException:
            sock.detach()  # it stays the caller's
            self._open.pop(handle, None)
            self._reactor.owners.pop(handle, None)
            self._reactor.give_back_handle(handle)
            raise

    def close(self, mode: int) -> None:
        """Stop receiving."""
        for handle in self._open:
            self._reactor.backend.close(handle, mode)

    def on_datagram(self, handle: int, a: int, b: int) -> None:
        """A packet, of a connection or of a listener."""
        endpoint = self._open.get(handle)
        if endpoint is None:
            self._reactor.streams.on_packet(handle, a + NAME_ROOM, b & 0xFFFFFFFF)
            return
        reactor = self._reactor
        sender = reactor.memory[a : a + (b >> 32)]
        conn = endpoint.kind(endpoint, sender, a + NAME_ROOM, b & 0xFFFFFFFF)
        try:
            action = endpoint.on_traffic(conn)
            if action is not None and check_action(action, "on_traffic") is Action.SHUTDOWN:
                reactor.engine.request_stop()  # the other actions have no meaning here
        except BaseException as error:
            reactor.failed(
                "%r: on_traffic raised; the rest of the datagram is dropped", conn, error=error
            )
        expire(conn)

    def on_truncated(self, handle: int, a: int, b: int) -> None:
        """A datagram was too long, and is dropped."""
        self.truncated += 1
        limit = self._reactor.options.max_datagram
        self._reactor.throttled.warning(
            "a datagram longer than max_datagram=%d bytes was dropped", limit
        )

    def on_refused(self, handle: int, result: int, size: int) -> None:
        """The system did not send a datagram, or reports that an earlier one did not arrive."""
        endpoint = self._open.get(handle)
        if endpoint is not None:
            endpoint.refused(size)
        self.refused += 1
        why = os.strerror(-result)
        self._reactor.throttled.warning("a datagram could not be sent: %s", why, why=why)
        if endpoint is not None:
            self._call_on_refused(endpoint, network_error(-result))

    def _call_on_refused(self, endpoint: Endpoint, error: OSError) -> None:
        """Call the handler's `on_refused`, if it has one."""
        on_refused = getattr(endpoint.origin.handler, "on_refused", None)
        if on_refused is None:
            return
        try:
            on_refused(endpoint.origin.listener, error)
        except BaseException as failure:
            self._reactor.failed("%r: on_refused raised", self._reactor, error=failure)

    def on_error(self, handle: int, result: int) -> None:
        """A listener's socket has failed."""
        self._reactor.log.error("a datagram socket has failed: %s", os.strerror(-result))
        self._reactor.backend.close(handle, NOW)

    def on_closed(self, handle: int) -> None:
        """The final event of a listener's socket."""
        self._open.pop(handle).end()

    def on_lost(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be handled: that datagram is lost."""

    def on_drained(self, handle: int) -> None:
        """What waited in a socket has been sent."""
        endpoint = self._open.get(handle)
        if endpoint is not None:
            endpoint.drained()

    def abandon(self) -> None:
        """No final event will come: the backend has failed, or this is a forked child."""
        for endpoint in self._open.values():
            endpoint.end()
        self._open.clear()
