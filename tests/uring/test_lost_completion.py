"""A completion for which the kernel had no memory: no send that failed may be taken for one that
succeeded, so the ring has failed."""

from __future__ import annotations

import errno
import mmap
import struct
import sys

import pytest
from contract_tools import make_backend, tcp_pair
from ringnet.completion import INDEX_BITS, Bounds

# struct io_rings of io_uring_types.h: where io_uring_setup(2) says it is, on all kernels so far.
ENTRIES = struct.Struct("4I")
ENTRIES_AT, OVERFLOW_AT = 16, 44


@pytest.mark.skipif(sys.platform != "linux", reason="io_uring is Linux's")
def test_a_completion_that_the_kernel_dropped() -> None:
    backend = make_backend("io_uring", Bounds())
    ours, peer = tcp_pair()
    with peer:
        handle = 1 << INDEX_BITS
        backend.adopt(handle, ours.detach())
        backend.turn(0.0)
        ring = mmap.mmap(backend._ring_fd, mmap.PAGESIZE)  # type: ignore[attr-defined]
        with ring:
            sq_mask, cq_mask, sq_entries, cq_entries = ENTRIES.unpack_from(ring, ENTRIES_AT)
            assert (sq_mask + 1, cq_mask + 1) == (sq_entries, cq_entries)
            struct.pack_into("I", ring, OVERFLOW_AT, 1)
            backend.send(handle, b"who knows")
            with pytest.raises(OSError, match="the io_uring has failed") as caught:
                backend.turn(0.0)
        assert caught.value.errno == errno.ENOMEM
        backend.dispose()
