"""A datagram that arrived at a listener.

gnet's model: each packet is one `on_traffic`, and what its handler does not consume is gone.
"""

from __future__ import annotations

import os
import socket
from threading import get_ident
from typing import Any

from ..completion import LOCAL_AT, NAME_ROOM
from ..sockaddr import unpack
from .deadlines import Deadlines
from .destination import destination
from .endpoint import Endpoint
from .errors import UsageError, peer_text
from .origin import Origin
from .packets import PacketConnection
from .sockopts import borrowed
from .stream import Callback


class Datagram(PacketConnection):
    """One datagram that arrived at a listener, and the way back to its sender.

    It lives for one `on_traffic`; kept longer it can still be written to, from any thread with
    `async_write`. There is no `on_open` and no `on_close` for it, and closing it does nothing.
    """

    __slots__ = ()
    # What of a connection is the same for every datagram: it has no end, and nothing is kept of it.
    _end_due = _peer_ended = _paused = _held = _is_shut = False
    _inbound = _error = None
    COST = "what it left of the datagram is gone"

    def __init__(self, endpoint: Endpoint, sender: bytes, offset: int, length: int) -> None:
        # Only what a datagram needs of a connection: there is one of these for each.
        self.context: Any = None
        self._loop = loop = endpoint.loop
        self._owner = loop.ident
        self._memory = loop.memory
        self._offset = offset
        self._length = length
        self._endpoint = endpoint
        self._to = sender

    def __repr__(self) -> str:
        return f"<ringnet.Datagram from {peer_text(self.remote_address)}>"

    @property
    def _origin(self) -> Origin:  # type: ignore[override]
        return self._endpoint.origin

    @property
    def _handle(self) -> int:  # type: ignore[override]
        return self._endpoint.handle

    @property
    def _fd(self) -> int:  # type: ignore[override]
        return self._endpoint.fd if self._endpoint.is_open else -1

    def _misuse(self) -> Exception:
        return super()._misuse() if self._endpoint.is_open else self._endpoint.is_over()

    def _borrow(self) -> borrowed:
        if self._owner != get_ident() or not self._endpoint.is_open:
            raise self._misuse()
        return borrowed(self._endpoint.fd)

    @property
    def local_address(self) -> Any:
        """The listener's address, as `socket.getsockname` gives it; of one that listens on all
        addresses, the one that was asked (on Linux). gnet: LocalAddr."""
        return self._endpoint.local_address

    @property
    def remote_address(self) -> Any:
        """The sender's address; "" for a nameless Unix socket. gnet: RemoteAddr."""
        return unpack(self._to)[1]

    def send_to(self, data: bytes, address: Any) -> None:
        """Send one datagram to another address, in the form of `remote_address`. gnet: SendTo.

        Of an IPv4 host (host, port) is enough also where the socket is of both families, and a
        list is as good as a tuple. Raises as `write`; TypeError for an address of another form,
        ValueError for a port or another number out of its range, and OSError for a host that is no
        numeric address or that the socket cannot send to, and for a Unix path that is too long.
        """
        if self._owner != get_ident():
            raise self._misuse()
        endpoint = self._endpoint
        endpoint.send(data, destination(endpoint.family, address, endpoint.only_v6))

    def write(self, data: bytes) -> None:
        """Send one datagram to the sender of this one. gnet: Write.

        Raises UsageError where the sender has no address: a Unix socket without a name, whose
        `remote_address` is "".
        """
        if self._owner != get_ident():
            raise self._misuse()
        if not self._to:
            raise UsageError("the sender of this datagram has no address to answer to")
        self._endpoint.send(data, self._to)

    def pause_reading(self) -> None:
        """Raises UsageError: the listener's socket is for all senders."""
        raise UsageError("a datagram has arrived already: there is nothing to pause")

    def _limits(self) -> Deadlines:
        raise UsageError("a datagram has no time limits: it is no connection")

    def close_now(self) -> None:
        """Does nothing: a datagram is no connection."""

    def reset(self) -> None:
        """Does nothing: a datagram is no connection."""

    def dup(self) -> int:
        """A new descriptor of the listener's socket, which is the caller's to close. gnet: Dup."""
        if self._owner != get_ident() or not self._endpoint.is_open:
            raise self._misuse()
        return os.dup(self._endpoint.fd)

    def _wake(self, callback: Callback | None) -> None:
        """Nothing can arrive once more: the handler is not called, which would look like that."""
        if callback is not None:
            error = None if self._endpoint.is_open else self._endpoint.is_over()
            self._loop.guard(callback, self, error)

    def _close(self, callback: Callback | None) -> None:
        if callback is not None:
            self._loop.guard(callback, self, None)

    def _finish(self, error: BaseException | None) -> None:
        return


_HOSTS = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}  # in a sockaddr
_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28}  # bytes of a sockaddr


class WildcardDatagram(Datagram):
    """One that arrived at a socket of all addresses: it knows which was asked, and answers from it.

    A peer that is connected would not hear another; see ip(7), IP_PKTINFO.
    """

    __slots__ = ("_source",)

    def __init__(self, endpoint: Endpoint, sender: bytes, offset: int, length: int) -> None:
        super().__init__(endpoint, sender, offset, length)
        start = offset - NAME_ROOM + LOCAL_AT
        source = self._memory[start : start + _SIZES[endpoint.family]]
        self._source = source if source[0] or source[1] else b""

    @property
    def local_address(self) -> Any:
        """The address that was asked, with the listener's port. gnet: LocalAddr."""
        here = self._endpoint.local_address
        if not self._source or here is None:
            return here
        host, _, *more = unpack(self._source)[1]
        return (host, here[1], *more)

    def send_to(self, data: bytes, address: Any) -> None:
        """As of any datagram. To the sender's host it leaves from the address that was asked; to
        others from that which the system chooses: the one that was asked may lead nowhere there."""
        if self._owner != get_ident():
            raise self._misuse()
        endpoint = self._endpoint
        to = destination(endpoint.family, address, endpoint.only_v6)
        host = _HOSTS[endpoint.family]
        endpoint.send(data, to + self._source if to[host] == self._to[host] else to)

    def write(self, data: bytes) -> None:
        """Send one datagram to the sender of this one, from the address that was asked."""
        if self._owner != get_ident():
            raise self._misuse()
        self._endpoint.send(data, self._to + self._source)
