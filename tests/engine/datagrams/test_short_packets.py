"""A packet that the system takes in part was not sent: it is refused, or breaks its connection.

Beneath the fallbacks a socket that does so; io_uring asks the kernel for a completion in that case.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from contract_tools import Rig
from ringnet.completion import CLOSED, ERROR, NOW, REFUSED
from ringnet.fallback import lines
from ringnet.fallback.slot import Slot

FALLBACKS = ("epoll", "select")


class Short:
    """A socket that takes all but the last byte."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def send(self, data: bytes, flags: int = 0) -> int:
        return len(data) - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    real = lines.try_packet

    def try_packet(slot: Slot, data: bytes, way: Any) -> int:
        if not isinstance(slot.sock, Short):
            slot.sock = Short(slot.sock)
        return real(slot, data, way)

    monkeypatch.setattr("ringnet.fallback.packets.try_packet", try_packet)


@pytest.mark.parametrize("name", FALLBACKS)
def test_a_datagram_that_was_cut_is_refused(name: str) -> None:
    made = Rig(name)
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.peers.append(peer)
    handle = made.adopt_packets(ours)
    made.backend.send_to(handle, b"whole")
    assert made.until(handle, REFUSED) == (-errno.EIO, 5)
    assert made.staged(handle) == 0
    made.end()


@pytest.mark.parametrize("name", FALLBACKS)
def test_a_connection_of_packets_breaks(name: str) -> None:
    made = Rig(name)
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.peers.append(peer)
    handle = made.adopt_packets(ours)
    made.backend.send_to(handle, b"whole")
    assert made.until(handle, ERROR)[0] == -errno.EIO
    made.backend.close(handle, NOW)
    assert made.until(handle, CLOSED) == (5, -errno.EIO)
    made.end()
