"""What can go wrong, by whose fault it is.

`UsageError` and its kin are the programmer's: they raise at the call and say what to do.
`SystemRefusal` and its kin are the machine's. The network's misfortunes are plain `OSError`s with
their errno; `on_close` gets them.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from types import FrameType, TracebackType
from typing import Final

MAY_GO_ON: Final = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR


class RingnetError(Exception):
    """Above every error that ringnet itself defines."""


class UsageError(RingnetError):
    """The caller's mistake: the message says what to do instead."""


class OptionError(UsageError, ValueError):
    """An option that does not exist, or a value out of its range or of the wrong type."""


class AddressError(UsageError, ValueError):
    """An address that is not one, such as `tcp:/x`, or whose scheme or port cannot be."""


class WrongThread(UsageError):
    """A method of a connection was called on a thread that is not its reactor's."""


class EngineStateError(UsageError):
    """A call that the engine's state does not allow, such as starting it twice."""


class ShortBuffer(RingnetError):
    """More bytes were asked for than there are; none was consumed. gnet: io.ErrShortBuffer."""


class ConnectionClosed(RingnetError):
    """The connection or the engine is closing or closed: it takes no more. gnet: net.ErrClosed."""


class EngineStopped(EngineStateError, ConnectionClosed):
    """The engine, or the client, is stopping or has stopped: it begins nothing any more."""


class BufferLimitExceeded(RingnetError):
    """A connection's buffer reached its bound (`max_inbound` or `max_outbound`)."""


class QueueFull(RingnetError):
    """More calls from other threads wait for a reactor than `max_foreign_calls` allows."""


class PoolClosed(RingnetError):
    """A worker pool was released: it takes no more tasks. ants: ErrPoolClosed."""


class PoolOverload(RingnetError):
    """No worker is free, and the caller may not wait for one, or the system has no thread for one.

    ants: ErrPoolOverload.
    """


class SystemRefusal(RingnetError):
    """The machine does not give what was asked of it."""


class BackendUnavailable(SystemRefusal):
    """The backend asked for cannot run here: the message has the reason and the remedy."""


class BindError(SystemRefusal, OSError):
    """An address could not be listened on; `errno` tells which of bind(2)'s errors it was."""


def is_plain(error: BaseException) -> bool:
    """Whether it is an Exception, and no interrupt. Not `isinstance`, which would ask the error."""
    return issubclass(type(error), Exception)


def for_future(error: BaseException) -> BaseException:
    """What a future tells those who wait for it: an interrupt is for the thread it interrupted."""
    return error if is_plain(error) else ConnectionClosed(repr(error))


def shown(value: object, most: int = 200) -> str:
    """A value as an error message has it: what was given may be of any size, or have no `repr`."""
    try:
        text = repr(value)
    except Exception:  # such as an int of too many digits
        return f"<{type(value).__name__}>"
    return shortened(text, most)


def shortened(text: str, most: int = 200) -> str:
    """The text on one line, or its beginning where it has more than `most` characters."""
    size = len(text)
    text = text[:most]
    if not text.isprintable():
        text = ascii(text)[1:-1]
    return text if size <= most else f"{text}... ({size} characters)"


def peer_text(address: object) -> str:
    """A peer's address for a log line. A Unix socket's name is whatever the peer likes."""
    if address is None:
        return "unknown"
    text = str(address)
    return (text if text.isprintable() else ascii(text)) or "unnamed"


def network_error(number: int, more: str = "") -> OSError:
    """What the network did, as `on_close` gets it: the same for the same event on every backend.

    A peer that reset the connection shows as ECONNRESET to who reads and as EPIPE to who writes.
    """
    if number == errno.EPIPE:
        number = errno.ECONNRESET
    return OSError(number, os.strerror(number) + more)


def release_frames(error: BaseException) -> None:
    """Let go of what the frames of its traceback hold; the traceback's lines stay.

    A connection refers to its error, whose traceback refers to the frames of the handler, whose
    variables refer to the connection: only the garbage collector would free that.
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
    """Those of the traceback, and those that called them, which they refer to."""
    frame = trace.tb_frame.f_back if trace is not None else None
    while trace is not None:
        _clear(trace.tb_frame)
        trace = trace.tb_next
    while frame is not None:
        _clear(frame)
        frame = frame.f_back


def _clear(frame: FrameType) -> None:
    """Unless it still runs, or may go on: to clear a generator's frame would end it."""
    if not frame.f_code.co_flags & MAY_GO_ON:
        with suppress(RuntimeError):
            frame.clear()
