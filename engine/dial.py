"""Dialing: names are resolved off the loop, then all addresses are tried as in RFC 8305.

The law of this file: a dial ends exactly once, in its future. Everything but the resolution runs on
the reactor's thread.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from ..completion import NOW
from ..sockaddr import pack
from .address import Address
from .errors import ConnectionClosed
from .sockopts import prepare_socket

if TYPE_CHECKING:
    from .connection import Connection
    from .origin import Origin
    from .reactor import Reactor
    from .timers import Timer

Target = tuple[int, Any]  # family and address, as Python's socket module has them
_AGAIN = 0.01  # seconds until a Unix listener with a full backlog is tried again


class Dial:
    """One dial in progress."""

    def __init__(
        self, loop: Reactor, origin: Origin, address: Address, timeout: float, context: Any
    ) -> None:
        self.future: Future[Connection] = Future()
        self.future.set_running_or_notify_cancel()  # it has begun: it cannot be cancelled
        self._loop = loop
        self.origin = origin
        self._address = address
        self._timeout = timeout
        self._context = context
        self._targets: deque[Target] = deque()
        self._attempts: dict[int, tuple[Target, int]] = {}  # by handle, with the descriptor
        self._failures: list[tuple[Target, int, str]] = []  # with the errno, and what it was
        self._timers: list[Timer] = []

    # The way

    def begin(self) -> None:
        """On the loop: the clock runs from here."""
        if self._loop.is_stopping:
            self.give_up("the engine has stopped")
            return
        self._loop.dialing.add(self)
        self._after(self._timeout, self._time_out)
        if self._address.is_unix:
            self._try([(self._address.family, self._address.sun_path)])
            return
        try:
            self._try(resolve(self._address, socket.AI_NUMERICHOST))
        except socket.gaierror:
            self._loop.engine.resolvers.submit(self._resolve)

    def _resolve(self) -> None:
        """On a thread of the resolvers."""
        with suppress(ConnectionClosed):  # the loop has ended this dial when it stopped
            try:
                targets = resolve(self._address)
            except (OSError, UnicodeError) as error:
                self._loop.post_own(self._fail, _unknown(self._address, error))
            else:
                self._loop.post_own(self._try, targets)

    def _try(self, targets: list[Target]) -> None:
        if self.future.done():
            return
        self._targets.extend(targets)
        self._next()

    def _next(self) -> None:
        """Start with the next address; the one after it follows if this one takes too long."""
        if self.future.done() or not self._targets:
            return
        target = self._targets.popleft()
        try:
            self._start(target)
        except OSError as error:
            number = error.errno or errno.EIO
            self._failed(target, number, error.strerror or os.strerror(number))
            return
        if self._targets:
            self._after(self._loop.options.connect_attempt_delay, self._next)

    def _start(self, target: Target) -> None:
        family, where = target
        sock = socket.socket(family, self._address.type)
        try:
            prepare_socket(sock, self._loop.options)
            if not self._address.is_stream:
                _connect_packets(sock, self._address, where)
            sock.setblocking(not self._loop.backend.nonblocking)
        except BaseException:
            sock.close()
            raise
        if not self._address.is_stream:
            self._won(self._loop.own(sock, self.origin))
            return
        handle = self._loop.take_handle()
        if handle is None:
            sock.close()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        fd = sock.detach()
        self._attempts[handle] = target, fd
        self._loop.dials[handle] = self
        self._loop.backend.connect(handle, fd, pack(family, where))

    # Results, from the reactor. In the turn in which the dial ends there may be some of attempts
    # that were given up and are being closed: they no longer count.

    def on_connected(self, handle: int) -> None:
        """An attempt has worked: the first wins, the others are given up."""
        if handle not in self._attempts:
            return
        _, fd = self._attempts.pop(handle)
        del self._loop.dials[handle]
        self._won(self._loop.connected(handle, fd, self.origin))

    def on_error(self, handle: int, result: int) -> None:
        """An attempt has failed."""
        if handle not in self._attempts:
            return
        target, _ = self._attempts.pop(handle)
        self._loop.backend.close(handle, NOW)
        if -result == errno.EAGAIN and self._address.is_unix:
            self._after(_AGAIN, lambda: self._try([target]))
        else:
            self._failed(target, -result, os.strerror(-result))

    def _failed(self, target: Target, number: int, why: str) -> None:
        self._failures.append((target, number, why))
        if self.future.done():
            return
        if self._targets:
            self._next()
        elif not self._attempts:
            self._fail(self._explain())

    # The end

    def _won(self, conn: Connection) -> None:
        self._tidy()
        conn.context = self._context
        self._loop.welcome(conn)
        self.future.set_result(conn)

    def _fail(self, error: Exception) -> None:
        if not self.future.done():
            self._tidy()
            self.future.set_exception(error)

    def give_up(self, why: str) -> None:
        """Nobody wants it any more."""
        self._fail(ConnectionClosed(why))

    def _tidy(self) -> None:
        self._loop.dialing.discard(self)
        for timer in self._timers:
            timer.cancel()
        for handle in self._attempts:
            self._loop.backend.close(handle, NOW)
        self._attempts.clear()

    def _after(self, delay: float, call: Any) -> None:
        self._timers.append(self._loop.add_timer(delay, call))

    def _time_out(self) -> None:
        text = f"connecting to {self._address} took longer than {self._timeout} s"
        self._fail(TimeoutError(errno.ETIMEDOUT, text))

    def _explain(self) -> OSError:
        """The last failure, with what happened to the other addresses."""
        _, number, why = self._failures[-1]
        text = f"cannot connect to {self._address}: {why}"
        others = [f"{where[0]}: {reason}" for (_, where), _, reason in self._failures[:-1]]
        return OSError(number, f"{text} ({'; '.join(others)})" if others else text)


def resolve(address: Address, flags: int = 0) -> list[Target]:
    """The addresses of a name, IPv6 and IPv4 taking turns. Raises socket.gaierror.

    An empty host is this machine. May block, unless `flags` forbid it.
    """
    found = socket.getaddrinfo(
        address.host or None,
        address.port,
        family=address.family,
        type=address.type,
        flags=flags,
    )
    by_family: dict[int, list[Target]] = {}
    for family, _, _, _, where in found:
        by_family.setdefault(family, []).append((family, where))
    taking_turns = chain.from_iterable(zip_longest(*by_family.values()))
    return [target for target in taking_turns if target is not None]


def _unknown(address: Address, error: Exception) -> OSError:
    number = error.errno if isinstance(error, OSError) and error.errno else socket.EAI_NONAME
    return socket.gaierror(number, f"the host of {address} cannot be resolved: {error}")


def _connect_packets(sock: socket.socket, address: Address, where: Any) -> None:
    """Datagrams have nobody to wait for, and a full backlog of packets is an error."""
    if address.is_unix and address.is_datagram:
        sock.bind(b"")  # Linux gives it a name, so that it can be answered
    sock.setblocking(False)
    sock.connect(where)
