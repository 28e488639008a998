"""Connections that keep message boundaries: datagrams, and packets of a connected socket.

gnet's model: each packet is one `on_traffic`, and what its handler does not consume is gone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..completion import NAME_ROOM
from ..sockaddr import pack, unpack
from .connection import Connection
from .deadlines import Deadlines
from .errors import BufferLimitExceeded, ConnectionClosed, UsageError, network_error
from .foreign import Callback, as_bytes
from .handler import check_action
from .origin import Origin
from .outbound import Readable

if TYPE_CHECKING:
    from .reactor import Reactor

LARGEST_UDP = {
    socket.AF_INET: 65_507,
    socket.AF_INET6: 65_527,
}  # bytes; RFC 768, without jumbograms
_LARGEST_UNIX = 212_992  # bytes that Linux takes by default, less its own


class Endpoint:
    """A socket of packets: what it is sent goes through here. On the reactor's thread."""

    def __init__(self, loop: Reactor, handle: int, sock: socket.socket, origin: Origin) -> None:
        self.loop = loop
        self.origin = origin
        self.on_traffic = origin.on_traffic
        self.local_address: Any = None  # once it was asked for
        self.family = sock.family
        self.has_end = sock.type == getattr(socket, "SOCK_SEQPACKET", None)
        self.is_open = True
        self.handle = handle
        self.fd = sock.detach()
        self._least = 1 if self.has_end else 0
        self._largest = LARGEST_UDP.get(self.family, 1 << 62)
        self._written = 0  # bytes so far
        self._limit = 0  # of `_written`, before somebody has to look how many still wait
        self._send_to = loop.backend.send_to

    def send(self, data: bytes, to: bytes) -> None:
        """Send one packet."""
        if not self.is_open:
            raise ConnectionClosed("the socket of this datagram is closed")
        if type(data) is not bytes:
            data = as_bytes(data)
        size = len(data)
        if not self._least <= size <= self._largest:
            self.check_size(data)
        written = self._written + size
        if written > self._limit:
            self._look(size)
        self._written = written
        self._send_to(self.handle, data, to)

    def check_size(self, data: bytes) -> int:
        """Raise ValueError for what can be no packet. On any thread."""
        size = len(data)
        if size > self._largest:
            raise ValueError(f"a datagram has at most {self._largest} bytes, not {size}")
        if self.has_end and not size:
            raise ValueError("an empty packet would be the end of the connection: use close")
        return size

    def check_room(self) -> None:
        """Raise where a packet, of whatever size, could not be sent now."""
        if not self.is_open:
            raise ConnectionClosed("the socket of this datagram is closed")
        self._look(min(self._largest, _LARGEST_UNIX))

    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._written - self.loop.sent(self.handle) if self.is_open else 0

    def forget(self, size: int) -> None:
        """So many bytes were refused: nobody waits for them."""
        self._written -= size

    def _look(self, size: int) -> None:
        waiting, limit = self.waiting(), self.loop.options.max_outbound
        if waiting and waiting + size > limit:
            raise BufferLimitExceeded(
                f"{waiting} bytes wait to be sent (max_outbound={limit}): "
                "the socket is slower than you write"
            )
        self._limit = self._written - waiting + limit


class PacketConnection(Connection):
    """A connected socket of packets: `unixpacket`, or datagrams that were dialed.

    Each `write` is one packet. Where the system reports that a datagram could not be delivered,
    the connection is closed with that error.
    """

    __slots__ = ("_endpoint", "_to")

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint.loop, endpoint.handle, endpoint.fd, endpoint.origin)
        self._endpoint = endpoint
        self._to = b""

    def write(self, data: bytes) -> None:
        """Send one packet. Raises as `Connection.write`, and ValueError for one too large.

        gnet: Write.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._is_shut:
            raise self._shut_error()
        self._endpoint.send(data, self._to)

    def async_write(self, data: bytes, callback: Callback | None = None) -> None:
        """`write` from any thread. Raises ValueError at once for a packet that is too large."""
        data = as_bytes(data)
        self._endpoint.check_size(data)
        super().async_write(data, callback)

    def writev(self, parts: Iterable[bytes]) -> None:
        """Send one packet made of the parts. gnet: Writev."""
        self.write(b"".join([as_bytes(part) for part in parts]))

    def read_from(self, file: Readable) -> int:
        """Send one packet with all that `file` has. gnet: ReadFrom.

        It is not read where a packet of the largest size could not be sent.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._is_shut:
            raise self._shut_error()
        self._endpoint.check_room()
        data = file.read(-1)
        self.write(data)
        return len(data)

    def shutdown_write(self) -> None:
        """End our side. Raises UsageError for datagrams, which have no end."""
        if not self._endpoint.has_end:
            raise UsageError("datagrams have no end that could be sent: use close")
        super().shutdown_write()

    def pause_reading(self) -> None:
        """Receive no more until `resume_reading`. What was received already still comes."""
        if self._owner != get_ident():
            raise self._misuse()
        if not self._paused:
            self._paused = True
            self.loop.backend.pause(self._handle)

    @property
    def is_writable(self) -> bool:
        """Whether at most `high_water` bytes wait. There is no `on_writable` for packets."""
        return self._owner != 0 and self.outbound_buffered <= self.loop.options.high_water

    @property
    def outbound_buffered(self) -> int:
        """Bytes of this socket, to whomever, that the kernel has not taken yet."""
        return 0 if self._fd == -1 else self._endpoint.waiting()

    def _arrived(self, at: int, size: int) -> None:
        self._offset = at
        self._length = size


class Datagram(PacketConnection):
    """One datagram that arrived at a listener, and the way back to its sender.

    It lives for one `on_traffic`; kept longer it can still be written to, from any thread with
    `async_write`. There is no `on_open` and no `on_close` for it, and closing it does nothing.
    """

    __slots__ = ()
    # What of a connection is the same for every datagram: it has no end, and nothing is kept of it.
    _end_due = _peer_ended = _paused = _held = _is_shut = False
    _inbound = _error = None

    def __init__(self, endpoint: Endpoint, sender: bytes, offset: int, length: int) -> None:
        # Only what a datagram needs of a connection: there is one of these for each.
        self.context: Any = None
        self.loop = loop = endpoint.loop
        self._owner = loop.ident
        self._memory = loop.memory
        self._offset = offset
        self._length = length
        self._endpoint = endpoint
        self._to = sender

    def __repr__(self) -> str:
        return f"<ringnet.Datagram from {self.remote_address}>"

    @property
    def _origin(self) -> Origin:  # type: ignore[override]
        return self._endpoint.origin

    @property
    def _handle(self) -> int:  # type: ignore[override]
        return self._endpoint.handle

    @property
    def _fd(self) -> int:  # type: ignore[override]
        return self._endpoint.fd

    @property
    def local_address(self) -> Any:
        """The listener's address, as `socket.getsockname` gives it. gnet: LocalAddr."""
        endpoint = self._endpoint
        if endpoint.local_address is None:
            endpoint.local_address = self._ask("getsockname")
        return endpoint.local_address

    @property
    def remote_address(self) -> Any:
        """The sender's address; "" for a nameless Unix socket. gnet: RemoteAddr."""
        return unpack(self._to)[1]

    def send_to(self, data: bytes, address: Any) -> None:
        """Send one datagram to another address, in the form of `remote_address`. gnet: SendTo.

        Raises as `write`, and OSError or TypeError for what is no address.
        """
        if self._owner != get_ident():
            raise self._misuse()
        self._endpoint.send(data, pack(self._endpoint.family, address))

    def write(self, data: bytes) -> None:
        """Send one datagram to the sender of this one. gnet: Write."""
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
        if not self._endpoint.is_open:
            raise ConnectionClosed("the socket of this datagram is closed")
        return os.dup(self._fd)

    def _close(self, callback: Callback | None) -> None:
        if callback is not None:
            self.loop.guard(callback, self, None)

    def _finish(self, error: BaseException | None) -> None:
        return


class Endpoints:
    """The sockets of datagrams that a reactor listens on."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._open: dict[int, Endpoint] = {}
        self.truncated = 0  # datagrams that were too large for max_datagram
        self.refused = 0  # datagrams that the system did not send

    @property
    def is_open(self) -> bool:
        """Whether one has not seen its final event yet."""
        return bool(self._open)

    def listen(self, fd: int, origin: Origin) -> None:
        """Receive from a bound descriptor, which is the reactor's from now on."""
        handle = self._reactor.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and listeners need")
        endpoint = Endpoint(self._reactor, handle, socket.socket(fileno=fd), origin)
        self._open[handle] = endpoint
        self._reactor.backend.adopt_packets(handle, endpoint.fd)

    def close(self, mode: int) -> None:
        """Receive no more."""
        for handle in self._open:
            self._reactor.backend.close(handle, mode)

    def on_datagram(self, handle: int, a: int, b: int) -> None:
        """A packet, of a connection or of a listener."""
        endpoint = self._open.get(handle)
        if endpoint is None:
            self._on_packet(handle, a, b)
            return
        reactor = self._reactor
        sender = reactor.memory[a : a + (b >> 32)]
        conn = Datagram(endpoint, sender, a + NAME_ROOM, b & 0xFFFFFFFF)
        try:
            action = endpoint.on_traffic(conn)
            if action is not None:
                reactor._act(conn, check_action(action, "on_traffic"))
        except BaseException as error:
            reactor._handler_failed(conn, "on_traffic", error)
        conn._length = 0

    def _on_packet(self, handle: int, a: int, b: int) -> None:
        conn = self._reactor.connections[handle]
        if conn._owner:
            conn._offset = a + NAME_ROOM
            conn._length = b & 0xFFFFFFFF
            self._reactor.traffic(conn)
            conn._length = 0

    def on_truncated(self, handle: int, a: int, b: int) -> None:
        """It is lost: a part of a datagram is none."""
        self.truncated += 1
        limit = self._reactor.options.max_datagram
        self._reactor.seldom.say("a datagram had more than max_datagram=%d bytes", limit)

    def on_refused(self, handle: int, result: int, size: int) -> None:
        """The system did not send a datagram, or reports that an earlier one did not arrive."""
        if handle == 0:
            self._reactor.engine.wake_all()
            return
        conn = self._reactor.connections.get(handle)
        if conn is not None:
            if conn._owner:
                conn._fail(network_error(-result))
            return
        endpoint = self._open.get(handle)
        if endpoint is not None:
            endpoint.forget(size)
        self.refused += 1
        why = os.strerror(-result)
        self._reactor.seldom.say("a datagram could not be sent: %s", why, why=why)

    def on_error(self, handle: int, result: int) -> bool:
        """Whether the broken socket was one of these; without it the engine cannot do its work."""
        if handle not in self._open:
            return False
        self._reactor.log.error("a socket of datagrams has failed: %s", os.strerror(-result))
        self._reactor.backend.close(handle, 1)
        return True

    def on_closed(self, handle: int) -> bool:
        """Whether the final event was of one of these."""
        endpoint = self._open.pop(handle, None)
        if endpoint is not None:
            endpoint.is_open = False
        return endpoint is not None
