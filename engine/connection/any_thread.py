"""What any thread may ask of a connection.

The law of this file: on a foreign thread nothing is done but posting a call to the connection's
reactor. The methods with an underscore are those calls, and run on its thread.
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
    """A connection or a datagram, as it is written to from elsewhere."""

    def write(self, data: bytes, /) -> None: ...


def write_and_report(loop: Owner, conn: Written, data: bytes, callback: Callback | None) -> None:
    """On the loop's thread: the write that `async_write` asked for."""
    try:
        conn.write(data)
    except BaseException as refusal:  # whatever it is, it may not end the loop
        # Reported from here: a variable would refer to the error, and the error to its frame.
        _report(loop, conn, len(data), callback, refusal)
        if not is_plain(refusal):
            raise  # an interrupt, which goes its own way
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
    """The part of a connection that is for any thread."""

    __slots__ = ()

    def async_write(self, data: bytes, callback: Callback | None = None) -> None:
        """`write` from any thread; the calls of one thread keep their order.

        `callback(conn, error)` then runs on the reactor's thread: None where the bytes were
        accepted, else ConnectionClosed or BufferLimitExceeded. Without a callback a refusal is
        logged. Raises TypeError, QueueFull, and ConnectionClosed if the engine has stopped; for
        packets as `write`, which checks the size. gnet: AsyncWrite.
        """
        check_callback(callback)
        self._loop.post(write_and_report, self._loop, self, as_bytes(data), callback)

    def async_writev(self, parts: Iterable[bytes], callback: Callback | None = None) -> None:
        """`writev` from any thread, as `async_write`. gnet: AsyncWritev."""
        self.async_write(b"".join([as_bytes(part) for part in parts]), callback)

    def wake(self, callback: Callback | None = None) -> None:
        """Have `on_traffic` called on the reactor's thread, though nothing arrived. gnet: Wake.

        `callback(conn, error)` runs after it; `error` is ConnectionClosed where the connection was
        closing. While reading is paused the callback runs, and `on_traffic` is called once when
        reading is resumed, however often it was woken.
        """
        check_callback(callback)
        self._loop.post(self._wake, callback)

    def close(self, callback: Callback | None = None) -> None:
        """Close after what was written is sent. Closing twice does nothing.

        On the connection's own thread it is closing when this returns, elsewhere soon after; where
        the engine has stopped it is closed already, and the callback runs on the calling thread.
        `callback(conn, error)` runs right after `on_close`. Bytes that arrive from now on are
        dropped; what is owed has `close_timeout` seconds. gnet: Close, CloseWithCallback.
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
