"""The elastic buffers, used without an engine.

python examples/buffers.py
"""

from __future__ import annotations

import ringnet


def main() -> None:
    """Write bytes, read them back, and see what a buffer does at its limits."""
    ring = ringnet.RingBuffer(limit=1_000_000)
    ring.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    print(ring.peek(3), len(ring))  # peek consumes nothing
    print(ring.next(ring.peek().index(b"\r\n") + 2))
    try:
        ring.next(1000)
    except ringnet.ShortBuffer as error:
        print("ShortBuffer:", error)
    ring.discard()
    print("empty again, with a storage of", ring.capacity, "bytes")

    outgoing = ringnet.LinkedBuffer()
    outgoing.write(b"head ")
    outgoing.write(bytes(100_000))  # kept by reference, not copied
    print([len(piece) for piece in outgoing.peek_pieces()])  # for a vectored write

    mixed = ringnet.MixedBuffer(ring_bytes=10, limit=20)
    mixed.write(b"small")
    mixed.write(b"overflowing")
    try:
        mixed.write(b"too much")
    except ringnet.BufferLimitExceeded as error:
        print("BufferLimitExceeded:", error)
    print(mixed.next())


if __name__ == "__main__":
    main()
