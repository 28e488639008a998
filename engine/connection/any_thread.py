"""The methods of a connection that any thread may call.

The law of this file: on a foreign thread, a method only posts a call to the connection's reactor.
The methods with an underscore are those calls; they run on the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import get_ident
from typing import Protocol

from ..base.checks import check_callback
from ..base.errors import ConnectionClosed, is_plain
from ..buffers.buffer import as_bytes
from .owner import Owner
from .stream import WAKE_DUE, Callback, Stream


class Written(Protocol):
    """A connection or a datagram that another thread writes to."""

    def write(self, data: bytes, /) -> None: ...


def write_and_report(loop: Owner, conn: Written, data: bytes, callback: Callback | None) -> None:
    """On the loop's thread: the write that `async_write` has requested."""
    try:
        conn.write(data)
    except BaseException as refusal:  # no exception may end the loop
        # Reported inside the handler: a variable for the error would form a cycle with its frame.
        _report(loop, conn, len(data), callback, refusal)
        if not is_plain(refusal):
            raise  # an interrupt, which the loop handles
    else:
        _report(loop, conn, len(data), callback, None)


def _report(
    loop: Owner, conn: Written, size: int, callback: Callback | None, error: BaseException | None
) -> None:
    if callback is not None:
        loop.guard(callback, conn, error)
    elif error is not None:
        loop.throttled.warning(
            "async_write of %d bytes to %r: %s", size, conn, error, why=type(error).__name__
        )


class AnyThread(Stream):
    """The methods of a connection that are for any thread."""

    __slots__ = ()

    def async_write(self, data: bytes, callback: Callback | None = None) -> None:
        """`write` from any thread; the calls of one thread keep their order.

        `callback(conn, error)` then runs on the reactor's thread; `error` is None if the bytes were
        accepted, otherwise ConnectionClosed or BufferLimitExceeded. Without a callback a refusal is
        logged. Raises TypeError, QueueFull, and ConnectionClosed if the engine has stopped; for a
        packet that is too large, ValueError. gnet: AsyncWrite.
        """
        check_callback(callback)
        self._loop.post(write_and_report, self._loop, self, as_bytes(data), callback)

    def async_writev(self, parts: Iterable[bytes], callback: Callback | None = None) -> None:
        """`writev` from any thread, as `async_write`. gnet: AsyncWritev."""
        self.async_write(b"".join([as_bytes(part) for part in parts]), callback)

    def wake(self, callback: Callback | None = None) -> None:
        """Have `on_traffic` called on the reactor's thread even if nothing arrived. gnet: Wake.

        `callback(conn, error)` runs afterwards; `error` is ConnectionClosed if the connection was
        closing. While reading is paused, only the callback runs; `on_traffic` is called once when
        reading is resumed, no matter how often `wake` was called.
        """
        check_callback(callback)
        self._loop.post(self._wake, callback)

    def close(self, callback: Callback | None = None) -> None:
        """Close once everything written has been sent. Closing twice does nothing.

        On the connection's own thread it is closing when this returns, elsewhere soon after.
        `callback(conn, error)` runs right after `on_close`; if the engine has already stopped, it
        runs on the calling thread. Bytes that arrive from now on are dropped; bytes that are not
        sent yet have `close_timeout` seconds. gnet: Close, CloseWithCallback.
        """
        check_callback(callback)
        if get_ident() == self._loop.ident:
            self._close(callback)
            return
        try:
            self._loop.post(self._close, callback)
        except ConnectionClosed:  # the loop is over, and all its connections are closed
            if callback is not None:
                self._loop.guard(callback, self, self._error)

    def _wake(self, callback: Callback | None) -> None:
        error = None if self._owner else self._misuse()
        if error is None and self._paused:
            self._marks |= WAKE_DUE
        elif error is None:
            self._loop.traffic(self)
        if callback is not None:
            self._loop.guard(callback, self, error)

    def _close(self, callback: Callback | None) -> None:
        if self._fd == -1:
            if callback is not None:
                self._loop.guard(callback, self, self._error)
            return
        if callback is not None:
            self._on_closed = [*(self._on_closed or []), callback]
        self._finish(None)
