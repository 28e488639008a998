"""The event handler: the class that users of the engine derive from.

It is gnet's EventHandler, with its vocabulary. Each method runs on the thread of the connection's
reactor and must not block: a reactor serves all its connections with one thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.action import Action, OpenReply, TickReply, default

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from ..connection.listener import Listener
    from .engine import Engine


class EventHandler:
    """The base class of handlers: override the methods that you need.

    An exception in a method closes its connection with that exception as the error, and is logged
    with its traceback (the same one at most once in 10 s); the reactor continues. This holds for
    every exception, including `asyncio.CancelledError` and the like. Only SystemExit
    (`sys.exit()`) and KeyboardInterrupt also stop the engine, the first as Action.SHUTDOWN does,
    the second at once, and are raised by `run`, `Engine.wait` and `Engine.stop`. The same applies
    to timers, callbacks and all other code that the engine calls on a reactor.

    Methods may also be set on the instance until `on_boot` has returned: they are looked up then.
    """

    @default
    def on_boot(self, engine: Engine) -> Action | None:
        """Called before the engine serves, with its addresses bound. On the thread of `start`.

        No reactor is running yet: methods that need one, such as `Engine.register`, and methods
        that wait for the end raise EngineStateError. An exception here is raised by `start`.
        gnet: OnBoot.
        """

    @default
    def on_shutdown(self, engine: Engine) -> None:
        """Called last, after `on_close` for every connection. gnet: OnShutdown."""

    @default
    def on_open(self, conn: Connection) -> OpenReply:
        """Called for a new connection, accepted or dialed. It may return bytes to send, an action,
        or a pair of both. gnet: OnOpen.
        """

    @default
    def on_traffic(self, conn: Any) -> Action | None:
        """Called when bytes have arrived. What is not consumed is kept for the next call.

        `conn` is a `Connection`. At a datagram listener each datagram is one call, with a
        `Datagram` as `conn`; what is not consumed is dropped. A handler that serves both can use
        what they have in common, `Conn`. gnet: OnTraffic.
        """

    @default
    def on_refused(self, listener: Listener, error: OSError) -> None:
        """Called when a datagram of a listener was not sent, or the network reports a failure.

        It is not known which datagram it was. EACCES: a broadcast address, and the option
        `broadcast` is off; EAGAIN: the receiver is full; EMSGSIZE: it was too large; ECONNREFUSED:
        nothing is bound to that Unix address. A dialed socket is closed with the error instead.
        """

    @default
    def on_writable(self, conn: Connection) -> Action | None:
        """Called when no more than `low_water` bytes wait to be sent, after more than `high_water`
        did. See `Connection.is_writable`.
        """

    @default
    def on_end(self, conn: Connection) -> Action | None:
        """Called when the peer has ended its side: nothing more will arrive.

        By default the connection is closed. A handler that overrides this and returns None keeps
        our side open, and has to close it later. Unread bytes can still be read.
        """
        return Action.CLOSE

    @default
    def on_drain(self, conn: Connection) -> Action | None:
        """Called when the engine stops, and accepts no more connections.

        By default the connection is closed. A handler that overrides this and returns None may
        continue with it for at most `stop_timeout` seconds, and has to close it. For a connection
        accepted at the last moment it is called right after `on_open`.
        """
        return Action.CLOSE

    @default
    def on_close(self, conn: Connection, error: BaseException | None) -> Action | None:
        """Called when the connection is closed: exactly once, and as its last call.

        `error` is None if we or the peer closed it in an orderly way, an OSError for a network
        failure, MemoryError if memory ran out, or the exception that a handler raised.
        gnet: OnClose.
        """

    @default
    def on_tick(self) -> TickReply:
        """Called on the first reactor when it starts, and again after the seconds that it returns.

        Returning None ends the ticking. An exception is logged and does not end it: the next call
        comes after the delay that was returned last (1 s if there was none). gnet: OnTick.
        """
