"""Connections whose reading rests because the engine holds `max_buffered` bytes.

Whose bytes these are does not matter: a connection may wait for half a message while others hold
all that may be held, also those of another reactor. So it does not go on by what it does itself.

The law of this file: those held go on in their order when there is room again, no more of them at
once than there is room for. While there are any, the reactor looks each LOOK_EVERY; whoever makes
room need not know of them.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .connection import Connection
    from .reactor import Reactor

LOOK_EVERY: Final = 0.02  # seconds
_SHARE: Final = 16  # the part of `max_buffered` that is room for one connection, if it is small


class Held:
    """Those of one reactor, on its thread."""

    def __init__(self, loop: Reactor) -> None:
        self._loop = loop
        self._line: dict[Connection, None] = {}
        self._looks = False

    def __len__(self) -> int:
        return len(self._line)

    def add(self, conn: Connection) -> None:
        """It stands behind the others."""
        self._line[conn] = None
        self._look_later()

    def discard(self, conn: Connection) -> None:
        """It goes on by itself, or has ended."""
        self._line.pop(conn, None)

    def _look_later(self) -> None:
        if self._line and not self._looks:
            self._looks = True
            self._loop.add_timer(LOOK_EVERY, self._look)

    def _look(self) -> None:
        """Let as many go on as there is room for what each may bring at once."""
        self._looks = False
        for conn in list(islice(self._line, self._count())):
            conn._go_on()  # first: where that fails, it is tried again
            self.discard(conn)
        self._look_later()

    def _count(self) -> int:
        options = self._loop.options
        room = options.max_buffered - self._loop.engine.buffered
        if room <= 0:
            return 0
        each = min(options.receive_buffer_size, max(1, options.max_buffered // _SHARE))
        # The other reactors see the same room in the same moment.
        return max(1, room // (each * options.reactors))
