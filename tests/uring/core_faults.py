"""What the C core does that is refused memory: for the build of build_sanitized.sh."""

from __future__ import annotations

import errno
import socket

import faults
import pytest
from contract_tools import Rig, make_backend, pack4
from cut_packets import KINDS_OF_PACKETS, check_cut_packet
from engine_tools import open_descriptors
from ringnet.completion import CLOSED, ERROR, NOW, REFUSED, Bounds


def test_whatever_is_refused_at_set_up_leaves_nothing() -> None:
    """Each thing in turn that the core asks for: an error, and no descriptor is left."""
    core = faults.uring_core()
    faults.begin(0)
    before, refusals = open_descriptors(), 0
    while True:
        core.rn_faults_refuse(refusals + 1)
        try:
            backend = make_backend("io_uring", Bounds())
        except OSError as error:
            assert error.errno == errno.ENOMEM  # noqa: PT017 - whichever of them fails
            assert open_descriptors() == before
            refusals += 1
        else:
            core.rn_faults_refuse(0)
            backend.dispose()
            break
    assert refusals > 12, "the tables, the ring, the memory, the buffers"
    assert open_descriptors() == before


def test_without_memory_for_a_send_the_stream_is_broken() -> None:
    core = faults.uring_core()
    faults.begin(0)
    made = Rig("io_uring")
    handle, _ = made.pair()
    made.turn()
    made.backend.send(handle, b"x" * 1000)
    made.backend.send(handle, b"x" * 4000)  # both go out together, so they are copied
    core.rn_faults_refuse(1)
    assert made.until(handle, ERROR) == (-errno.ENOMEM, 0)
    core.rn_faults_refuse(0)
    made.backend.close(handle, NOW)
    assert made.until(handle, CLOSED) == (5000, -errno.ENOMEM)
    made.end()


def packets_around_a_lost_one(kind: int) -> tuple[Rig, int, socket.socket]:
    """A handle, which sent three packets, and its peer: there is no memory for the second."""
    made = Rig("io_uring")
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    made.peers.append(peer)
    handle = made.adopt_packets(ours)
    made.turn()
    core = faults.uring_core()
    core.rn_faults_refuse(2)
    for data in (b"before", bytes(4000), b"behind"):
        made.backend.send_to(handle, data)
    made.turn()
    core.rn_faults_refuse(0)
    return made, handle, peer


def test_a_packet_that_there_is_no_memory_to_keep_is_refused() -> None:
    faults.begin(0)
    made, handle, peer = packets_around_a_lost_one(socket.SOCK_DGRAM)
    assert made.until(handle, REFUSED) == (-errno.ENOMEM, 4000)
    assert made.packets_at(peer, 2) == [b"before", b"behind"]
    assert made.staged(handle) == 0
    assert made.kinds(handle) == [REFUSED]
    made.backend.close(handle, NOW)
    assert made.until(handle, CLOSED) == (0, 0)
    made.end()


def test_a_connection_that_has_no_memory_to_keep_a_packet_is_broken() -> None:
    faults.begin(0)
    made, handle, peer = packets_around_a_lost_one(socket.SOCK_SEQPACKET)
    assert made.until(handle, ERROR) == (-errno.ENOMEM, 0)
    assert made.packets_at(peer, 1) == [b"before"]
    made.backend.close(handle, NOW)
    assert made.until(handle, CLOSED) == (4006, -errno.ENOMEM)
    made.end()


@pytest.mark.parametrize("taken", [0, 4])
@pytest.mark.parametrize("kind", KINDS_OF_PACKETS)
def test_a_packet_that_is_taken_in_part_was_not_sent(kind: str, taken: int) -> None:
    check_cut_packet("io_uring", kind, taken)


def test_without_memory_while_connecting_there_is_no_connection() -> None:
    """ERROR is the last but the end: the connection that comes about then is not told."""
    core = faults.uring_core()
    faults.begin(0)
    made = Rig("io_uring")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handle = made.connect(socket.AF_INET, pack4(listener.getsockname()))
        made.backend.send(handle, b"x" * 1000)
        core.rn_faults_refuse(2)  # the first is for the address
        assert made.until(handle, ERROR) == (-errno.ENOMEM, 0)
        core.rn_faults_refuse(0)
        made.settle()
        assert made.kinds(handle) == [ERROR]
        made.backend.close(handle, NOW)
        made.until(handle, CLOSED)
        assert made.kinds(handle) == [ERROR, CLOSED]
    made.end()
