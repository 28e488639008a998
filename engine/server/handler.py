"""The event handler: what a user of the engine writes.

gnet's EventHandler, with its vocabulary. Each method runs on the thread of the connection's
reactor and must not block it: a reactor serves all its connections with one thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..base.action import Action, OpenReply, TickReply, default

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from ..connection.listener import Listener
    from .engine import Engine


class EventHandler:
    """Derive from it and write the methods that matter; each of these does nothing.

    An exception in a method closes its connection with that exception as the error, and is logged
    with its traceback (the same one at most once in 10 s); the reactor goes on. So it is with every
    exception, `asyncio.CancelledError` and the like included. Only SystemExit (`sys.exit()`) and
    KeyboardInterrupt also stop the engine, the first as Action.SHUTDOWN does, the second at once,
    and are raised by `run`, `Engine.wait` and `Engine.stop`; that holds for timers, callbacks and
    all other code that the engine calls, on a reactor.

    Methods may also be set on the instance, until `on_boot` has returned: what a handler has of its
    own is looked up then.
    """

    @default
    def on_boot(self, engine: Engine) -> Action | None:
        """The engine is about to serve; its addresses are bound. On the thread of `start`.

        No reactor runs yet: what needs one, such as `Engine.register`, and what waits for the end
        raises EngineStateError. An exception here is raised by `start`. gnet: OnBoot.
        """

    @default
    def on_shutdown(self, engine: Engine) -> None:
        """Every connection is closed and told so; the last call of all. gnet: OnShutdown."""

    @default
    def on_open(self, conn: Connection) -> OpenReply:
        """A connection was accepted or dialed. Returned bytes are sent, an action is done.

        gnet: OnOpen.
        """

    @default
    def on_traffic(self, conn: Any) -> Action | None:
        """Bytes have arrived. What is not consumed is kept, and comes again with more of it.

        `conn` is a `Connection`. At a listener of datagrams each datagram is one call, with a
        `Datagram` as `conn`; what is not consumed of it is gone. A handler that serves both uses
        what they have in common, which is `Conn`. gnet: OnTraffic.
        """

    @default
    def on_refused(self, listener: Listener, error: OSError) -> None:
        """A datagram of a listener was not sent, or did not arrive as far as the network says.

        Which one it was is not known. EACCES: the address is a broadcast one, and the option
        `broadcast` is off; EAGAIN: its receiver is full; EMSGSIZE: it was too large;
        ECONNREFUSED: nobody has that Unix socket. A dialed socket is closed with the error instead.
        """

    @default
    def on_writable(self, conn: Connection) -> Action | None:
        """No more than `low_water` bytes wait to be sent, after there were more than `high_water`.

        See `Connection.is_writable`.
        """

    @default
    def on_end(self, conn: Connection) -> Action | None:
        """The peer has ended its side: nothing more arrives. By default our side is closed too.

        Who writes this method and returns None keeps our side open, and closes it when all is said.
        What was left unread can still be read.
        """
        return Action.CLOSE

    @default
    def on_drain(self, conn: Connection) -> Action | None:
        """The engine stops: it accepts no more. By default the connection is closed.

        Who writes this method and returns None goes on with it until all is said, at most for
        `stop_timeout`, and closes it then. A connection that was accepted at the last moment gets
        this right after `on_open`.
        """
        return Action.CLOSE

    @default
    def on_close(self, conn: Connection, error: BaseException | None) -> Action | None:
        """The connection is closed: exactly once, and last of its calls.

        `error` is None where we or the peer closed it in good order, an OSError for the network's
        failures, MemoryError where there was no memory for it, or what a handler raised, of
        whatever class. gnet: OnClose.
        """

    @default
    def on_tick(self) -> TickReply:
        """Called on the first reactor when it starts, and again after the seconds it returns.

        None ends the ticking. An exception is logged, and does not: the next call comes after the
        seconds that were returned last (1 where none were yet). gnet: OnTick.
        """
