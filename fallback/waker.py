"""Waking a backend from any thread: a pair of sockets, of which the poller watches one."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import RLock

from .sockets import SEND_AT_ONCE, WOULD_BLOCK


class Waker:
    """Sends one byte, and no second one until the first was taken."""

    __slots__ = ("_inbound", "_is_woken", "_lock", "_outbound", "fd")

    def __init__(self) -> None:
        self._outbound, self._inbound = socket.socketpair()
        self._outbound.setblocking(False)
        self._inbound.setblocking(False)
        self.fd = self._inbound.fileno()
        self._lock = RLock()  # a signal handler may interrupt the thread that holds it
        self._is_woken = False

    def wake(self) -> None:
        with self._lock:
            if not self._is_woken:
                self._outbound.send(b"\0", SEND_AT_ONCE)
                self._is_woken = True  # a signal handler may have sent a second one: no harm

    def take(self) -> None:
        """The poller has reported it: the next call sends again."""
        with self._lock:
            # In this order: a call between the two is covered by the event that follows.
            with suppress(*WOULD_BLOCK):
                self._inbound.recv(64)
            self._is_woken = False

    def silence(self) -> None:
        """From here on there is nothing to wake."""
        with self._lock:
            self._is_woken = True

    def close(self) -> None:
        self._outbound.close()
        self._inbound.close()
