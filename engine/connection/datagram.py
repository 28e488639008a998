"""A datagram that arrived at a listener.

gnet's model: each packet is one `on_traffic`, and what its handler does not consume is dropped.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ...completion import LOCAL_AT, NAME_ROOM
from ...sockaddr import unpack
from ..base.checks import check_callback
from ..base.errors import ConnectionClosed, UsageError, peer_text
from ..base.sockets import borrowed
from ..buffers.buffer import Readable, Sink, as_bytes, asked_for, check_count, fill, move
from .any_thread import write_and_report
from .destination import destination
from .endpoint import Endpoint
from .owner import LoopFace
from .socket_options import SocketOptions
from .stream import Callback, wrong_thread

if TYPE_CHECKING:
    from .listener import Listener


class Datagram(SocketOptions):
    """A datagram that arrived at a listener; writing to it answers its sender.

    Its bytes can be read, as from a connection, during one `on_traffic`. It may be kept longer in
    order to write to it, from any thread with `async_write`. There is no `on_open` and no
    `on_close` for it, and closing it does nothing.

    Its methods are for its reactor's thread and raise WrongThread elsewhere, except `async_write`,
    `async_writev`, `wake` and `close`, which are for any thread; once the listener's socket is
    closed they raise ConnectionClosed. The `set_` methods change options of that socket, and so for
    all its datagrams.
    """

    __slots__ = ("_endpoint", "_length", "_loop", "_memory", "_offset", "_owner", "_to", "context")

    def __init__(self, endpoint: Endpoint, sender: bytes, offset: int, length: int) -> None:
        self.context: Any = None
        self._loop = loop = endpoint.loop
        self._owner = loop.ident  # the thread that may use it
        self._memory = loop.memory
        self._offset = offset
        self._length = length  # bytes that are not consumed yet
        self._endpoint = endpoint
        self._to = sender

    def __repr__(self) -> str:
        return f"<ringnet.Datagram from {peer_text(self.remote_address)}>"

    # Properties

    @property
    def loop(self) -> LoopFace[Any]:
        """The event loop that it arrived at: see `EventLoop`. For any thread."""
        return self._loop.face

    @property
    def listener(self) -> Listener | None:
        """The listener that it arrived at."""
        return self._endpoint.origin.listener

    @property
    def local_address(self) -> Any:
        """The listener's address, as `socket.getsockname` returns it. If it listens on a wildcard
        address, this is the address that the datagram was sent to (on Linux). gnet: LocalAddr."""
        return self._endpoint.local_address

    @property
    def remote_address(self) -> Any:
        """The sender's address; "" for an unnamed Unix socket. gnet: RemoteAddr."""
        return unpack(self._to)[1]

    def fileno(self) -> int:
        """The descriptor of the listener's socket; -1 once it is closed. gnet: Fd."""
        return self._endpoint.fd if self._endpoint.is_open else -1

    def dup(self) -> int:
        """A duplicate of the listener's descriptor, which the caller has to close. gnet: Dup."""
        self._check()
        return os.dup(self._endpoint.fd)

    # Reading

    @property
    def inbound_buffered(self) -> int:
        """Bytes that can be consumed now. gnet: InboundBuffered."""
        return self._length

    def next(self, n: int = -1) -> bytes:
        """Consume and return `n` bytes, or all (-1). Raises ShortBuffer if there are fewer.

        gnet: Next.
        """
        if self._owner != get_ident():
            raise self._misuse()
        count = self._length if n == -1 else asked_for(n, self._length)
        start = self._offset
        self._offset += count
        self._length -= count
        return self._memory[start : start + count]

    def peek(self, n: int = -1) -> bytes:
        """Return the next `n` bytes, or all (-1), without consuming them. Raises ShortBuffer.

        gnet: Peek.
        """
        if self._owner != get_ident():
            raise self._misuse()
        count = self._length if n == -1 else asked_for(n, self._length)
        return self._memory[self._offset : self._offset + count]

    def discard(self, n: int = -1) -> int:
        """Consume `n` bytes, or all (-1), without returning them; returns how many.

        Raises ShortBuffer if there are fewer. gnet: Discard.
        """
        if self._owner != get_ident():
            raise self._misuse()
        count = self._length if n == -1 else asked_for(n, self._length)
        self._offset += count
        self._length -= count
        return count

    def read(self, n: int = -1) -> bytes:
        """Consume and return up to `n` bytes, or all (-1). gnet: Read."""
        return self.next(n if check_count(n) == -1 else min(n, self._length))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume as many bytes as fit into `target`; returns how many. gnet: Read."""
        return fill(self, target, self._length)

    def write_to(self, file: Sink) -> int:
        """Consume everything and write it to `file`; returns how many bytes. gnet: WriteTo."""
        return move(self, file)

    # Writing

    @property
    def outbound_buffered(self) -> int:
        """Bytes of the listener's socket, to any receiver, that the kernel has not taken yet.

        gnet: OutboundBuffered.
        """
        if self._loop.ident != get_ident() and self._endpoint.is_open:
            raise self._misuse()
        return self._endpoint.waiting()

    def write(self, data: bytes) -> None:
        """Send one datagram to the sender of this one. gnet: Write.

        Raises UsageError if the sender has no address (an unnamed Unix socket, whose
        `remote_address` is ""), ValueError if `data` is too large, and BufferLimitExceeded.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if not self._to:
            raise UsageError("the sender of this datagram has no address to answer to")
        self._endpoint.send(data, self._to)

    def writev(self, parts: Iterable[bytes]) -> None:
        """Send one datagram made of the parts. gnet: Writev."""
        self.write(b"".join([as_bytes(part) for part in parts]))

    def read_from(self, file: Readable) -> int:
        """Send the contents of `file` as one datagram. gnet: ReadFrom.

        It is not read if a datagram of the largest size could not be sent.
        """
        self._check()
        self._endpoint.check_room()
        data = file.read(-1)
        self.write(data)
        return len(data)

    def send_to(self, data: bytes, address: Any) -> None:
        """Send one datagram to another address, in the form of `remote_address`. gnet: SendTo.

        A list may be given instead of a tuple, and (host, port) for an IPv4 host even if the socket
        serves both families. Raises as `write`; TypeError for an address of another form,
        ValueError for a port or another number out of range, and OSError for a host that is not a
        numeric address or that the socket cannot send to, and for a Unix path that is too long.
        """
        if self._owner != get_ident():
            raise self._misuse()
        endpoint = self._endpoint
        endpoint.send(data, destination(endpoint.family, address, endpoint.only_v6))

    def flush(self) -> None:
        """Does nothing: see `Connection.flush`. gnet: Flush."""
        if self._owner != get_ident():
            raise self._misuse()

    # For any thread

    def async_write(self, data: bytes, callback: Callback | None = None) -> None:
        """`write` from any thread: see `Connection.async_write`. Raises ValueError at once if
        `data` is too large. gnet: AsyncWrite."""
        check_callback(callback)
        data = as_bytes(data)
        self._endpoint.check_size(data)
        self._loop.post(write_and_report, self._loop, self, data, callback)

    def async_writev(self, parts: Iterable[bytes], callback: Callback | None = None) -> None:
        """`writev` from any thread, as `async_write`. gnet: AsyncWritev."""
        self.async_write(b"".join([as_bytes(part) for part in parts]), callback)

    def wake(self, callback: Callback | None = None) -> None:
        """Only calls the callback, on the reactor's thread: a datagram is not read twice.

        gnet: Wake.
        """
        check_callback(callback)
        self._loop.post(self._woken, callback)

    def close(self, callback: Callback | None = None) -> None:
        """Only calls the callback: a datagram has no connection to close. gnet: Close."""
        check_callback(callback)
        if self._loop.engine.is_forked:
            raise self._misuse()
        if callback is None:
            return
        if get_ident() == self._loop.ident:
            self._loop.guard(callback, self, None)
            return
        try:
            self._loop.post(self._loop.guard, callback, self, None)
        except ConnectionClosed:  # the loop is over
            self._loop.guard(callback, self, None)

    def _woken(self, callback: Callback | None) -> None:
        if callback is not None:
            error = None if self._endpoint.is_open else self._endpoint.is_over()
            self._loop.guard(callback, self, error)

    # Mistakes

    def _check(self) -> None:
        """Raise unless the caller may use the listener's socket."""
        if self._owner != get_ident() or not self._endpoint.is_open:
            raise self._misuse()

    def _misuse(self) -> Exception:
        endpoint = self._endpoint
        return wrong_thread(self._loop) if endpoint.is_open else endpoint.is_over()

    def _borrow(self) -> borrowed:
        self._check()
        return borrowed(self._endpoint.fd)


def expire(datagram: Datagram) -> None:
    """Its `on_traffic` has returned: what was not consumed is dropped."""
    datagram._length = 0


_HOSTS = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}  # in a sockaddr
_SIZES = {socket.AF_INET: 16, socket.AF_INET6: 28}  # bytes of a sockaddr


class WildcardDatagram(Datagram):
    """A datagram at a socket on a wildcard address: it is answered from the address it was sent to.

    A connected peer would not receive an answer from another address; see ip(7), IP_PKTINFO.
    """

    __slots__ = ("_source",)

    def __init__(self, endpoint: Endpoint, sender: bytes, offset: int, length: int) -> None:
        super().__init__(endpoint, sender, offset, length)
        start = offset - NAME_ROOM + LOCAL_AT
        source = self._memory[start : start + _SIZES[endpoint.family]]
        self._source = source if source[0] or source[1] else b""

    @property
    def local_address(self) -> Any:
        """The address that the datagram was sent to, with the listener's port. gnet: LocalAddr."""
        here = self._endpoint.local_address
        if not self._source or here is None:
            return here
        host, _, *more = unpack(self._source)[1]
        return (host, here[1], *more)

    def send_to(self, data: bytes, address: Any) -> None:
        """As `Datagram.send_to`. To the sender's host it is sent from the address that this
        datagram was sent to; to others from the system's choice, since that one may have no route.
        """
        if self._owner != get_ident():
            raise self._misuse()
        endpoint = self._endpoint
        to = destination(endpoint.family, address, endpoint.only_v6)
        host = _HOSTS[endpoint.family]
        endpoint.send(data, to + self._source if to[host] == self._to[host] else to)

    def write(self, data: bytes) -> None:
        """Send one datagram to the sender of this one, from the address that this was sent to."""
        if self._owner != get_ident():
            raise self._misuse()
        self._endpoint.send(data, self._to + self._source)
