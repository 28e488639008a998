"""What an engine listens on. gnet: Engine.Dup, DupListener."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from .listener import Listener, hand_over

if TYPE_CHECKING:
    from .address import Address
    from .logs import Log


class Listening:
    """The part of an engine that has listeners."""

    if TYPE_CHECKING:  # what Engine has
        log: Log
        _listeners: list[Listener]
        _parsed: list[Address]

        def validate(self) -> None: ...

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, as they were really bound once the engine has started.

        Given again, each binds the same; of a name there is one for each of its addresses.
        """
        bound = tuple(listener.address for listener in self._listeners)
        return bound or tuple(str(address) for address in self._parsed)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """One for each of `addresses`, in their order, once the engine has started."""
        return tuple(self._listeners)

    def dup_listener(self, address: str = "") -> socket.socket:
        """A socket object of its own for a listening socket: the first, or that of an address.

        Raises EngineStateError where the engine does not run, and ValueError for an address that it
        does not listen on. gnet: Dup, DupListener.
        """
        self.validate()
        for listener in self._listeners:
            if address in ("", listener.address):
                return listener.dup()
        raise ValueError(f"{self!r} does not listen on {address!r}")

    def hand_over(self) -> dict[str, list[int]]:
        """Inheritable descriptors of the listening sockets, by address, for a successor.

        A process that gets them (`subprocess`, `pass_fds`) listens with the addresses `fd://N`:
        newcomers then find either process, and none is refused. They are the caller's to close;
        the files of Unix sockets are the successor's to remove. Raises EngineStateError.
        """
        self.validate()
        return hand_over(self._listeners)

    def _close_listeners(self) -> None:
        """Whatever becomes of the files of Unix sockets, all are closed."""
        for listener in self._listeners:
            try:
                listener.close()
            except OSError as error:
                self.log.warning("%r: its file could not be removed: %s", listener, error)
