"""What a handler is to its callers: its methods, and what they may return."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, Protocol, TypeVar

from .errors import MAY_GO_ON, UsageError, shown

F = TypeVar("F", bound=Callable[..., object])
_DEFAULTS: list[Callable[..., object]] = []  # the methods of EventHandler


class Action(IntEnum):
    """What a handler's method returns to request something after the call. gnet: Action."""

    NONE = 0
    CLOSE = 1  # close this connection once everything written to it is sent
    SHUTDOWN = 2  # stop the whole engine gracefully
    AGAIN = 3  # call on_traffic again for what was left unread, after other connections' turns


OpenReply = bytes | Action | tuple[bytes, Action] | None
TickReply = float | Action | tuple[float, Action] | None


class Handler(Protocol):
    """An `EventHandler`, or an object of another class that has its methods."""

    def on_boot(self, engine: Any, /) -> Action | None: ...
    def on_shutdown(self, engine: Any, /) -> None: ...
    def on_open(self, conn: Any, /) -> OpenReply: ...
    def on_traffic(self, conn: Any, /) -> Action | None: ...
    def on_writable(self, conn: Any, /) -> Action | None: ...
    def on_end(self, conn: Any, /) -> Action | None: ...
    def on_drain(self, conn: Any, /) -> Action | None: ...
    def on_close(self, conn: Any, error: BaseException | None, /) -> Action | None: ...
    def on_tick(self) -> TickReply: ...


_METHODS = (
    "on_boot",
    "on_shutdown",
    "on_open",
    "on_traffic",
    "on_writable",
    "on_end",
    "on_drain",
    "on_close",
    "on_tick",
)


def check_handler(handler: object) -> None:
    """Raise TypeError unless the object has every method of EventHandler."""
    if isinstance(handler, type):
        raise TypeError(f"the handler is a class: pass an instance, {handler.__name__}()")
    if isinstance(handler, str):
        raise TypeError(f"the handler comes first, then addresses, not {shown(handler)}")
    missing = [name for name in _METHODS if not callable(getattr(handler, name, None))]
    if missing:
        raise TypeError(
            f"{type(handler).__name__} lacks {', '.join(missing)}: derive it from "
            "ringnet.EventHandler, which has defaults for all of them"
        )
    for name in (*_METHODS, "on_refused"):  # the last is optional in handlers of other classes
        code = getattr(getattr(handler, name, None), "__code__", None)
        if getattr(code, "co_flags", 0) & MAY_GO_ON:
            raise TypeError(
                f"{name} of {type(handler).__name__} is a coroutine or a generator: write it with "
                "a plain def and no yield, since its result is not awaited"
            )


def check_action(reply: object, method: str) -> Action:
    """The action that a handler returned. Raises UsageError for anything else."""
    if reply is None:
        return Action.NONE
    if isinstance(reply, Action):
        return reply
    raise UsageError(f"{method} returned {reply!r}: return None or a ringnet.Action")


def split_reply(
    reply: object, first: type | tuple[type, ...], method: str
) -> tuple[object, Action]:
    """Split what `on_open` and `on_tick` return: a value, an action, or a pair of both."""
    if isinstance(reply, tuple) and len(reply) == 2:
        value, action = reply
        return split_reply(value, first, method)[0], check_action(action, method)
    if isinstance(reply, Action):
        return None, reply
    if reply is None or (isinstance(reply, first) and not isinstance(reply, bool)):
        return reply, Action.NONE
    kinds = first if isinstance(first, tuple) else (first,)
    value = "a number" if float in kinds else " or ".join(kind.__name__ for kind in kinds)
    raise UsageError(
        f"{method} returned {reply!r}: return {value}, a ringnet.Action, a pair of both, or None"
    )


def default(method: F) -> F:
    """Mark a default method of EventHandler, as opposed to a user's."""
    _DEFAULTS.append(method)
    return method


def overrides(handler: object, method: str) -> bool:
    """Whether the handler has its own version of a method, in its class or on the instance."""
    found = getattr(handler, method, None)
    function = getattr(found, "__func__", found)
    return all(function is not default for default in _DEFAULTS)
