"""The addresses of an engine, and its listeners while it runs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from ..base.address import parse_address
from ..connection.listener import Listener, hand_over
from .binding import open_listeners

if TYPE_CHECKING:
    from ..base.logs import Log
    from ..base.options import Options


class Listening:
    """For any thread, once it is open."""

    def __init__(self, addresses: tuple[str, ...], log: Log) -> None:
        self._parsed = [parse_address(text) for text in addresses]
        self._log = log
        self.listeners: list[Listener] = []

    def open(self, options: Options) -> None:
        """Bind every address, or none. Raises BindError and AddressError."""
        self.listeners = open_listeners(self._parsed, options, options.reactors)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses as given; once they are bound, as they were really bound."""
        bound = tuple(listener.address for listener in self.listeners)
        return bound or tuple(str(address) for address in self._parsed)

    def dup(self, address: str) -> socket.socket | None:
        """A new socket object for the listener of an address ("": the first), if there is one."""
        for listener in self.listeners:
            if address in ("", listener.address):
                return listener.dup()
        return None

    def hand_over(self) -> dict[str, list[int]]:
        """Inheritable descriptors by address, for another process."""
        return hand_over(self.listeners)

    def close(self) -> None:
        """Close all listeners, even if the file of a Unix socket cannot be removed."""
        for listener in self.listeners:
            try:
                listener.close()
            except OSError as error:
                self._log.warning("%r: its file could not be removed: %s", listener, error)
