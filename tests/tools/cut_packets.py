"""Packets that the system takes in part, on demand: no kernel is known to do it but by a fault.

For io_uring the C core has to be the build of build_sanitized.sh.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faults
import pytest
from contract_tools import Rig
from ringnet.completion import CLOSED, ERROR, INDEX_MASK, NOW, REFUSED


@contextmanager
def next_is_cut(made: Rig, handle: int, taken: int) -> Iterator[None]:
    """Of the next packet of a handle the system takes so many bytes."""
    if made.backend.name == "io_uring":
        core = faults.uring_core()
        faults.begin(0)
        core.rn_faults_cut(1, taken)
        try:
            yield
        finally:
            core.rn_faults_cut(0, 0)
        return
    slot: Any = made.backend.state.slots[handle]  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot, "sock", _Cuts(slot.sock, taken))
        yield


KINDS_OF_PACKETS = ("udp", "unixgram", "unixpacket")


def check_cut_packet(backend: str, kind: str, taken: int) -> None:
    """It is refused, or the end of a connection of packets; it never counts as sent."""
    made = Rig(backend)
    ours, peer = _pair(kind)
    made.peers.append(peer)
    handle = made.adopt_packets(ours)
    made.turn()
    with next_is_cut(made, handle, taken):
        made.backend.send_to(handle, b"in part")
        if kind == "unixpacket":
            assert made.until(handle, ERROR) == (-errno.EIO, 0)
            assert made.backend.sent[handle & INDEX_MASK] == 0
            made.backend.close(handle, NOW)
            assert made.until(handle, CLOSED) == (7, -errno.EIO)
        else:
            assert made.until(handle, REFUSED) == (-errno.EIO, 7)
            assert made.staged(handle) == 0
            made.backend.send_to(handle, b"whole")
            assert made.packets_at(peer, 1) == [b"whole"]
            assert made.backend.sent[handle & INDEX_MASK] == 5
    made.end()


def _pair(kind: str) -> tuple[socket.socket, socket.socket]:
    if kind != "udp":
        packets = kind == "unixpacket"
        return socket.socketpair(
            socket.AF_UNIX, socket.SOCK_SEQPACKET if packets else socket.SOCK_DGRAM
        )
    ours, peer = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (ours, peer):
        sock.bind(("127.0.0.1", 0))
    ours.connect(peer.getsockname())
    peer.connect(ours.getsockname())
    return ours, peer


class _Cuts:
    """A socket of which one packet leaves in part."""

    def __init__(self, sock: socket.socket, taken: int) -> None:
        self._sock, self._taken = sock, [taken]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def send(self, data: bytes, flags: int = 0) -> int:
        return self._taken.pop() if self._taken else self._sock.send(data, flags)

    def sendto(self, data: bytes, flags: int, address: Any) -> int:
        return self._taken.pop() if self._taken else self._sock.sendto(data, flags, address)
