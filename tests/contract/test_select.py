"""What only select has: descriptors with numbers that it cannot watch."""

from __future__ import annotations

import errno
import fcntl
import resource
import socket
from collections.abc import Iterator

import pytest
from contract_tools import Rig, rig, tcp_pair
from ringnet.completion import CLOSED, ERROR, NOW

TOO_HIGH = 1_024  # FD_SETSIZE


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """A limit that allows a number that is too high."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, TOO_HIGH + 16), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def adopt_too_high(made: Rig) -> int:
    ours, peer = tcp_pair()
    made.peers.append(peer)
    with ours:
        high = socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, TOO_HIGH))
    return made.adopt(high)


@pytest.mark.usefixtures("many_descriptors")
def test_a_number_too_high_is_an_error_of_that_handle_only() -> None:
    with rig("select") as made:
        handle = adopt_too_high(made)
        other, peer = made.pair()
        assert made.until(handle, ERROR) == (-errno.EMFILE, 0)
        peer.sendall(b"unharmed")
        made.pump(lambda: made.received[other] == b"unharmed")
        made.backend.close(handle, NOW)
        made.until(handle, CLOSED)
        assert made.of(handle) == [(ERROR, -errno.EMFILE, 0), (CLOSED, 0, -errno.EMFILE)]


def test_it_admits_fewer_handles_than_it_has_numbers() -> None:
    with rig("select") as made:
        assert 0 < made.backend.capacity < TOO_HIGH < made.bounds.slots
