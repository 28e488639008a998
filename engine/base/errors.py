"""The errors, grouped by their cause.

`UsageError` and its subclasses are programming mistakes: they are raised at the call, with a
message that says what to do. `SystemRefusal` and its subclasses mean that the machine refused
something. Network failures are plain `OSError`s with their errno, and are passed to `on_close`.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import FrameType, TracebackType
from typing import Final

MAY_GO_ON: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
NO_MORE: Final = "the engine is stopping and accepts no more connections"


class RingnetError(Exception):
    """The base class of every error that ringnet defines."""


class UsageError(RingnetError):
    """A mistake of the caller: the message says what to do instead."""


class OptionError(UsageError, ValueError):
    """An option that does not exist, or a value out of range or of the wrong type."""


class AddressError(UsageError, ValueError):
    """An invalid address, such as `tcp:/x`, or one with an unknown scheme or an invalid port."""


class WrongThread(UsageError):
    """A method of a connection was called on a thread other than its reactor's."""


class EngineStateError(UsageError):
    """A call that the engine's current state does not allow, such as starting it twice."""


class ShortBuffer(RingnetError):
    """Fewer bytes are available than requested; none was consumed. gnet: io.ErrShortBuffer."""


class ConnectionClosed(RingnetError):
    """The connection or the engine is closing or closed. gnet: net.ErrClosed."""


class EngineStopped(EngineStateError, ConnectionClosed):
    """The engine or the client is stopping or has stopped, and starts nothing new."""


class BufferLimitExceeded(RingnetError):
    """A buffer has reached its limit: `max_inbound`, `max_outbound`, `max_buffered`, or its own."""


class QueueFull(RingnetError):
    """The reactor's queue of calls from other threads is full (`max_foreign_calls`)."""


class PoolClosed(RingnetError):
    """The worker pool was released and accepts no more tasks. ants: ErrPoolClosed."""


class PoolOverload(RingnetError):
    """No worker is free and the caller may not wait for one, or no thread could be created.

    ants: ErrPoolOverload.
    """


class SystemRefusal(RingnetError):
    """The machine refused a request."""


class BackendUnavailable(SystemRefusal):
    """The requested backend cannot run here: the message has the reason and the remedy."""


class BindError(SystemRefusal, OSError):
    """Listening on an address failed; `errno` is that of bind(2) or listen(2)."""


def is_plain(error: BaseException) -> bool:
    """Whether it is an Exception rather than an interrupt, such as KeyboardInterrupt.

    Not by `isinstance`, which may run code of the error's class.
    """
    return issubclass(type(error), Exception)


def for_future(error: BaseException) -> BaseException:
    """The error to set in a future: an interrupt concerns only the thread that it interrupted."""
    return error if is_plain(error) else ConnectionClosed(repr(error))


def shown(value: object, most: int = 200) -> str:
    """A value for an error message: it may be of any size, and its `repr` may fail."""
    try:
        text = repr(value)
    except Exception:  # such as an int with too many digits
        return f"<{type(value).__name__}>"
    return shortened(text, most)


def shortened(text: str, most: int = 200) -> str:
    """The text on one line; only its beginning if it has more than `most` characters."""
    size = len(text)
    text = text[:most]
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if size <= most else f"{text}... ({size} characters)"


def peer_text(address: object) -> str:
    """A peer's address for a log line. The name of a Unix socket is chosen by the peer."""
    if address is None:
        return "unknown"
    text = str(address)
    return (text if text.isprintable() else ascii(text)) or "unnamed"


def network_error(number: int, more: str = "") -> OSError:
    """A network error as passed to `on_close`: the same event gives the same error everywhere.

    After a reset by the peer, reading fails with ECONNRESET and writing with EPIPE.
    """
    if number == errno.EPIPE:
        number = errno.ECONNRESET
    return OSError(number, os.strerror(number) + more)


def release_frames(error: BaseException) -> None:
    """Clear the frames of the error's traceback; its lines can still be printed.

    A connection refers to its error, whose traceback refers to the frames of the handler, whose
    variables refer to the connection: only the garbage collector could free such a cycle.
    """
    seen: dict[int, BaseException] = {}
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen[id(one)] = one
        _clear_frames(one.__traceback__)
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def _clear_frames(trace: TracebackType | None) -> None:
    """Clear the frames of the traceback, and those of their callers, to which they refer."""
    frame = trace.tb_frame.f_back if trace is not None else None
    while trace is not None:
        _clear(trace.tb_frame)
        trace = trace.tb_next
    while frame is not None:
        _clear(frame)
        frame = frame.f_back


def _clear(frame: FrameType) -> None:
    """Clear a frame unless it still runs or may resume: clearing a generator's frame ends it."""
    if not frame.f_code.co_flags & MAY_GO_ON:
        with suppress(RuntimeError):
            frame.clear()
