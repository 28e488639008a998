"""The core's receive buffers: where they are, and what is kept of those that the kernel refused."""

from __future__ import annotations

import socket

import pytest
from contract_tools import OLDER_RINGS, rig
from engine_tools import run_here
from ringnet.completion import DATAGRAM, Bounds

HEAD = 16  # bytes of struct io_uring_recvmsg_out, before the sender's name


@pytest.mark.parametrize("name", ["io_uring", *OLDER_RINGS])
@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("size", [64, 65, 1_001, 4_099])
def test_the_head_of_each_packet_is_where_a_structure_may_be(
    name: str, streams: int, size: int
) -> None:
    """Whatever the sizes of the buffers that are before it."""
    bounds = Bounds(
        receive_buffers=streams, receive_buffer_size=size, packet_buffers=4, packet_size=size
    )
    with rig(name, bounds) as made:
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with peer:
            handle = made.adopt_packets(ours)
            for number in range(6):
                peer.send(b"%d" % number)
                made.pump(lambda count=number + 1: len(made.packets[handle]) == count)
        places = [a - HEAD for _, kind, a, _ in made.said if kind == DATAGRAM]
        assert len(places) == 6
        assert [place % 16 for place in places] == [0] * 6


REFUSED = """
import errno, socket
import seccomp
from contract_tools import Rig, close_all, make_backend
from ringnet.completion import Bounds

MANY = Bounds(packet_buffers=32_768, packet_size=64)

def kept():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmData"))

def refused():
    try:
        make_backend("io_uring", MANY)
    except OSError as error:
        assert error.errno == errno.EINVAL
    else:
        raise AssertionError("the filter is not in force")

def adopted():
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    handle = made.adopt_packets(ours)
    made.turn()
    close_all(made, [handle])
    peer.close()

made = Rig("io_uring", MANY)
made.turn()
seccomp.install(seccomp.RETURN_ERRNO | errno.EINVAL, "register")
for attempt in (refused, adopted):
    attempt()
    before = kept()
    for _ in range(50):
        attempt()
    print(attempt.__name__, kept() - before < 2_000)
"""


def test_what_the_kernel_refuses_keeps_no_memory() -> None:
    """io_uring_register(2) takes the rings of buffers; each attempt has tables for them."""
    done = run_here("-c", REFUSED)
    assert (done.returncode, done.stdout) == (0, "refused True\nadopted True\n"), done.stderr
