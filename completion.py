"""The vocabulary of completions: what the engine and its backends exchange.

This file is plain data, plus two helpers for when memory is short. It is the only thing that
`uring/`, `fallback/` and `engine/` share, so that neither backend needs to know the engine or the
other backend. What each word promises is written once, in `engine/base/contract.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from errno import ENOMEM
from time import sleep
from typing import Any, Final

# A handle names one operation or connection: `generation << INDEX_BITS | index`. The caller chooses
# handles; an index may be reused, with a new generation, after its final event.
INDEX_BITS: Final = 24
INDEX_MASK: Final = (1 << INDEX_BITS) - 1
GENERATION_MASK: Final = (1 << 32) - 1

# Kinds of events. An event is the tuple (handle, kind, a, b) of integers.
DATA: Final = 1  # a: offset in the backend's memory, b: length in bytes
EOF: Final = 2  # the peer has ended its side
ERROR: Final = 3  # a: -errno; the stream is broken
ACCEPTED: Final = 4  # handle of the listener; a: the new descriptor
STALLED: Final = 5  # handle of the listener; a: -errno; it accepts no more until resume()
CONNECTED: Final = 6
DRAINED: Final = 7  # answer to notify(): nothing is staged
SHUT: Final = 8  # our side is ended: everything staged was sent, followed by the end
READY: Final = 9  # a: the mask of poll(); final
CLOSED: Final = 10  # a: bytes accepted by send() and never sent, b: -errno or 0; final
WOKEN: Final = 11  # handle is 0
DATAGRAM: Final = 12  # a: offset of the sender's sockaddr, b: its length << 32 | bytes
TRUNCATED: Final = 13  # a datagram was larger than a buffer, and is lost
REFUSED: Final = 14  # a: -errno; b: bytes of the packet that was not sent; the handle stays open

# The bytes of a DATAGRAM start NAME_ROOM after its offset. The space before them holds the sender's
# sockaddr and, from LOCAL_AT on, the sockaddr it was sent to, if the socket reports that.
NAME_ROOM: Final = 256
LOCAL_AT: Final = 128

KIND_NAMES: Final = {
    DATA: "DATA",
    EOF: "EOF",
    ERROR: "ERROR",
    ACCEPTED: "ACCEPTED",
    STALLED: "STALLED",
    CONNECTED: "CONNECTED",
    DRAINED: "DRAINED",
    SHUT: "SHUT",
    READY: "READY",
    CLOSED: "CLOSED",
    WOKEN: "WOKEN",
    DATAGRAM: "DATAGRAM",
    TRUNCATED: "TRUNCATED",
    REFUSED: "REFUSED",
}

# How close() ends a stream.
GRACEFUL: Final = 0  # send what is staged, end our side, then read and drop until the peer's end
NOW: Final = 1  # drop what is staged and close the descriptor
RESET: Final = 2  # the same with a reset (RST) towards the peer
LEAVE: Final = NOW | 4  # as NOW, but duplicates of the descriptor stay connected
CLOSE_MODES: Final = frozenset({GRACEFUL, NOW, RESET, LEAVE})

# Masks of poll(); the values are those of poll(2).
READABLE: Final = 0x001
WRITABLE: Final = 0x004
FAILED: Final = 0x008
HUNG_UP: Final = 0x010

# From this many bytes on, send() takes a piece by reference, however much is staged.
REFERRED_FROM: Final = 65_536

# Seconds until packets for full receivers are tried again.
RETRY_PERIOD: Final = 0.010

_TRIES: Final = 100  # of a step that fails for lack of memory
_REST: Final = 0.01  # seconds between two tries

Event = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a backend may use: every quantity that can grow has its bound here."""

    slots: int = 65_536  # handles alive at once
    events: int = 1_024  # events that one turn() returns at most
    receive_buffers: int = 8  # buffers for incoming data, shared by all connections
    receive_buffer_size: int = 262_144  # bytes of each; several small receives may share one
    stage_bytes: int = 65_536  # bytes of one connection that are copied and wait to be sent
    packet_buffers: int = 64  # buffers for datagrams, shared by all sockets
    packet_size: int = 65_536  # bytes of each: longer datagrams are truncated
    line_packets: int = 64  # packets that wait for one full receiver
    line_bytes: int = 1_048_576  # of all packets of a socket in such lines, plus NAME_ROOM for each
    edge_chunk: int = 0  # bytes read from a stream at once, edge-triggered; 0: level-triggered


def even_out(targets: list[int], pieces: list[bytes]) -> None:
    """Take back the half of a `send` of which the other half could not be appended."""
    if len(targets) > len(pieces):
        targets.pop()


def retried(step: Callable[..., Any], *arguments: Any) -> Any:
    """Take a step that must not be skipped, trying again while memory is short."""
    for _ in range(_TRIES):
        try:
            return step(*arguments)
        except MemoryError:
            sleep(_REST)
    raise OSError(ENOMEM, "out of memory for a step that a turn cannot skip")
