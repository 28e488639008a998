"""Dialing: names are resolved off the loop, then all addresses are tried as in RFC 8305.

The law of this file: a dial ends exactly once, in its future, whatever happens on the way, and none
of its exceptions reaches the loop. Everything but the resolution runs on the reactor's thread;
every entry point (posted calls, timers, events) goes through `_step`.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...completion import NOW, RESET, retried
from ...sockaddr import pack
from ..base.address import Address
from ..base.errors import NO_MORE, ConnectionClosed, EngineStopped, for_future, is_plain, shortened
from ..base.resolve import Target, check_host, resolve, unknown_host
from ..base.sockets import is_itself, prepare_socket
from ..base.source import Source
from ..connection.deadlines import Countdown
from .dials import Dials
from .enrolling import EnrollingLoop, introduce

if TYPE_CHECKING:
    from ..base.timers import Timer
    from ..connection.connection import Connection
    from ..connection.origin import Origin
    from .host import Host

_AGAIN: Final = 0.01  # seconds until a Unix listener with a full backlog is tried again
_AT_ONCE: Final = 16  # immediate failures in a row before others on the loop are served
_NAMED: Final = 8  # failures that an error lists; DNS may cause any number of them


class DialLoop(EnrollingLoop, Protocol):
    """A reactor, as its dials see it."""

    dials: Dials

    @property
    def engine(self) -> Host: ...
    @property
    def is_stopping(self) -> bool: ...
    def post_own(self, call: Callable[..., object], *arguments: Any) -> None: ...


class Dial:
    """One dial in progress."""

    def __init__(
        self,
        loop: DialLoop,
        origin: Origin,
        address: Address,
        timeout: float,
        context: Any,
        source: Source | None = None,
    ) -> None:
        self.future: Future[Connection] = Future()
        self.future.set_running_or_notify_cancel()  # it has started: it cannot be cancelled
        self._loop = loop
        self.origin = origin
        self._address = address
        self._timeout = timeout
        self._context = context
        self._source = source
        self._family = source.family if source and source.family else address.family
        self._is_over = False
        self._targets: deque[Target] = deque()
        self._attempts: dict[int, tuple[Target, int]] = {}  # by handle, with the descriptor
        self._failures = _Failures()
        self._limit: Countdown | None = None
        self._timers: dict[Callable[..., object], Timer] = {}  # one for each step that waits

    # Entry points

    def begin(self) -> None:
        """On the loop: the clock runs from here."""
        try:
            self._step(self._begin)
        except BaseException as error:  # memory is short even for that, or an interrupt
            self.fail(error)
            if not is_plain(error):
                raise

    def on_connected(self, handle: int) -> None:
        """An attempt has succeeded: the first one wins, the others are cancelled."""
        # In the turn in which the dial ends there may be results of cancelled attempts that are
        # being closed: they no longer count.
        if handle in self._attempts:
            self._step(self._connected, handle)

    def on_error(self, handle: int, result: int) -> None:
        """An attempt has failed."""
        if handle in self._attempts:
            self._step(self._refused, handle, -result)

    def give_up(self, why: str) -> None:
        """End the dial: the client or the engine stops."""
        self.fail(EngineStopped(why))

    def _step(self, step: Callable[..., object], *arguments: Any) -> None:
        if self._is_over:
            return
        try:
            step(*arguments)
        except BaseException as error:
            self.fail(error)
            if not is_plain(error):
                raise  # an interrupt, which the loop handles

    def _after(self, delay: float, step: Callable[..., object], *arguments: Any) -> None:
        """Take a step later; a second call restarts the delay."""
        if step in self._timers:
            self._timers[step].cancel()
        call = partial(self._step, step, *arguments)
        self._timers[step] = self._loop.add_timer(delay, call)

    # The steps

    def _begin(self) -> None:
        if self.origin.is_over:
            self.give_up("the client has stopped")
            return
        if self._loop.is_stopping:
            self.give_up(NO_MORE)
            return
        self._loop.dials.add(self)
        time_out = partial(self._step, self._time_out)
        self._limit = Countdown(self._loop, self._timeout, time_out)
        if self._address.is_unix:
            self._try([(self._address.family, self._address.sun_path)])
            return
        check_host(self._address)
        try:
            targets = resolve(self._address, self._family, socket.AI_NUMERICHOST)
        except socket.gaierror:
            self._resolve_name()
        else:
            self._try(targets)

    def _resolve_name(self) -> None:
        try:
            self._loop.engine.resolvers.submit(self._resolve_in_thread)
        except RuntimeError as error:  # no more threads can be started
            raise OSError(errno.EAGAIN, unknown_host(self._address, error).strerror) from error

    def _resolve_in_thread(self) -> None:
        """On a thread of the resolvers."""
        if self._is_over:
            return  # it timed out while waiting for a thread
        step: Callable[[Any], None]
        result: Any
        try:
            step, result = self._try, resolve(self._address, self._family)
        except BaseException as error:  # on this thread it concerns only the dial
            step, result = self.fail, error
        with suppress(ConnectionClosed):  # the loop has stopped, and ended this dial
            self._loop.post_own(self._step, step, result)

    def _try(self, targets: list[Target]) -> None:
        self._targets.extend(targets[: self._loop.options.connect_addresses])
        self._next()

    def _next(self) -> None:
        """Try the next address; the one after it follows if this one takes too long.

        RFC 8305, 5: the delay counts from the start of the last attempt.
        """
        delay = 0.0
        for _ in range(min(_AT_ONCE, len(self._targets))):
            if self._begins(self._targets.popleft()):
                delay = self._loop.options.connect_attempt_delay
                break
        if self._is_over:
            return
        if self._targets:
            self._after(delay, self._next)
        elif not self._attempts:
            self.fail(self._failures.explain(self._address, self._source))

    def _begins(self, target: Target) -> bool:
        """Start an attempt; returns whether it is in progress or has succeeded."""
        try:
            sock, packed = self._make_socket(target)
            if self._address.is_stream:
                self._connect(target, sock, packed)
        except Exception as error:
            self._failures.note(target, error)
            return False
        if not self._address.is_stream:
            self._won(self._loop.streams.own(sock, self.origin))
        return True

    def _connect(self, target: Target, sock: socket.socket, packed: bytes) -> None:
        with sock:  # closed unless it is detached
            handle = self._loop.dials.reserve(self)
            try:
                self._attempts[handle] = target, sock.fileno()
                self._loop.backend.connect(handle, sock.fileno(), packed)
            except BaseException:
                self._attempts.pop(handle, None)
                self._loop.dials.release(handle)
                raise
            sock.detach()  # the backend owns it now

    def _make_socket(self, target: Target) -> tuple[socket.socket, bytes]:
        family, where = target
        sock = socket.socket(family, self._address.type)
        try:
            prepare_socket(sock, self._loop.options)
            if self._source is not None:
                self._source.bind(sock)
            if not self._address.is_stream:
                _connect_packets(sock, self._address, where)
            sock.setblocking(False)  # for users of a duplicate; backends do not rely on it
            return sock, pack(family, where)
        except BaseException:
            sock.close()
            raise

    def _connected(self, handle: int) -> None:
        _, fd = self._attempts[handle]
        if not self._address.is_unix and is_itself(fd):
            # Nothing listens there: the kernel gave us that very port (RFC 9293, 3.5).
            self._refused(handle, errno.ECONNREFUSED, RESET)
            return
        conn = self._loop.streams.connected(handle, fd, self.origin)
        self._loop.dials.hand_on(handle)
        del self._attempts[handle]
        self._won(conn)

    def _refused(self, handle: int, number: int, mode: int = NOW) -> None:
        self._loop.backend.close(handle, mode)  # first: there may be no memory for it
        target, _ = self._attempts.pop(handle)
        if number == errno.EAGAIN and self._address.is_unix:
            self._after(_AGAIN, self._try, [target])
        else:
            self._failures.note(target, OSError(number, os.strerror(number)))
            self._next()

    # The end

    def _won(self, conn: Connection) -> None:
        try:
            self._tidy()
        finally:
            introduce(self._loop, conn, self._context, self.future)

    def fail(self, error: BaseException) -> None:
        """End the dial with an error."""
        if self._is_over:
            return
        try:
            self._tidy()
        finally:
            # Their frames refer to this dial, and it to the future.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            self._loop.guard(self.future.set_exception, retried(for_future, error))

    def _tidy(self) -> None:
        """From now on it is over: the future follows, whatever becomes of this."""
        self._is_over = True
        guard, backend = self._loop.guard, self._loop.backend
        self._loop.dials.remove(self)
        for handle in self._attempts:
            guard(retried, backend.close, handle, NOW)  # else it would stay for good
        self._attempts.clear()
        if self._limit is not None:
            guard(self._limit.cancel)
            self._limit = None
        for timer in self._timers.values():
            guard(timer.cancel)
        self._timers.clear()

    def _time_out(self) -> None:
        text = f"connecting to {shortened(str(self._address))} took longer than {self._timeout} s"
        self.fail(TimeoutError(errno.ETIMEDOUT, text))


class _Failures:
    """The failures of the addresses that were tried: the first few, and the last one."""

    def __init__(self) -> None:
        self._count = 0
        self._named: list[str] = []
        self._last: tuple[Target, int, str] | None = None  # with its errno and its text

    def note(self, target: Target, error: Exception) -> None:
        if self._last is not None and len(self._named) < _NAMED:
            (_, where), _, before = self._last
            self._named.append(f"{where[0]}: {before}")
        self._count += 1
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EINVAL
        self._last = target, number, _reason(error)  # the error itself would refer to this dial

    def explain(self, address: Address, source: Source | None) -> OSError:
        """The last failure, followed by those of the other addresses."""
        start = f" from {source}" if source else ""
        text = f"cannot connect to {shortened(str(address))}{start}: "
        if self._last is None:
            return socket.gaierror(socket.EAI_NONAME, f"{text}the name has no address")
        _, number, why = self._last
        more = self._count - 1 - len(self._named)
        others = [*self._named, f"and {more} more"] if more else self._named
        text += why
        return OSError(number, f"{text} ({'; '.join(others)})" if others else text)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return shortened(error.strerror or str(error))
    return shortened(f"{type(error).__name__}: {error}")


def _connect_packets(sock: socket.socket, address: Address, where: Any) -> None:
    """Connect a socket of packets at once: for datagrams this never blocks, and for packets a full
    backlog is an error."""
    if address.is_unix and address.is_datagram:
        sock.bind(b"")  # Linux assigns a name, so that the peer can answer
    sock.setblocking(False)
    sock.connect(where)
    if not address.is_unix and is_itself(sock.fileno()):
        raise OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
