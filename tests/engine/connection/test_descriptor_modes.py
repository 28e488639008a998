"""Whether a descriptor blocks belongs to all who share it, and new sockets have a default timeout.

Neither may ever make a loop wait. The contract's half is here with the engine's.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import ringnet
from contract_tools import Rig, pattern, tcp_pair
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
    dial,
    endpoint,
    on_loop,
    receive,
    served,
    udp_peer,
)
from ringnet.completion import ACCEPTED, CLOSED, CONNECTED, EOF, NOW
from ringnet.sockaddr import pack
from stuck import at_most

SOON = 3.0  # seconds
MODES = pytest.mark.parametrize("blocking", [True, False])


@contextmanager
def default_timeout(seconds: float) -> Iterator[None]:
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(None)


@MODES
def test_a_stream_is_read_and_written_in_any_mode(made: Rig, blocking: bool) -> None:
    ours, peer = tcp_pair(sndbuf=4096, rcvbuf=4096)
    made.peers.append(peer)
    with ours.dup() as shared, at_most(SOON):
        handle = made.adopt(ours)
        made.turn()
        shared.setblocking(blocking)
        data = made.clog(handle, 500_000)
        peer.sendall(b"meanwhile")
        made.pump(lambda: made.received[handle] == b"meanwhile")
    with at_most(20):
        assert made.exchange(peer, len(data)) == data


@MODES
def test_what_is_told_ready_and_is_not(made: Rig, blocking: bool) -> None:
    """Another reader of the same socket was faster."""
    ours, peer = tcp_pair()
    made.peers.append(peer)
    with ours.dup() as shared, at_most(SOON):
        handle = made.adopt(ours)
        made.turn()
        for _ in range(50):
            peer.sendall(b"x")
            shared.setblocking(False)
            try:
                shared.recv(10)
            except BlockingIOError:
                pass
            shared.setblocking(blocking)
            made.turn()
        peer.shutdown(socket.SHUT_WR)
        made.until(handle, EOF)


@MODES
@pytest.mark.parametrize("count", [1, 3, 100])
def test_a_listener_accepts_in_any_mode(made: Rig, blocking: bool, count: int) -> None:
    handle, address = made.listen()
    with socket.socket(fileno=os.dup(made.fds[handle])) as shared, at_most(SOON):
        made.turn()
        for _ in range(count):
            shared.setblocking(blocking)
            made.client(address)
        made.pump(lambda: len(made.accepted(handle)) == count)
        shared.setblocking(blocking)
        made.turn()
        made.turn()
    assert made.kinds(handle) == [ACCEPTED] * count
    for fd in made.accepted(handle):
        os.close(fd)


def test_a_default_timeout_changes_nothing(made: Rig) -> None:
    with default_timeout(30.0), at_most(SOON), socket.create_server(("127.0.0.1", 0)) as server:
        listener, address = made.listen()
        client = made.client(address)
        (fd,) = (made.until(listener, ACCEPTED)[0],)
        handle = made.adopt(socket.socket(fileno=fd))
        made.turn()
        client.sendall(b"hello")
        made.pump(lambda: made.received[handle] == b"hello")
        made.turn()
        dialed = made.connect(socket.AF_INET, pack(socket.AF_INET, server.getsockname()))
        made.until(dialed, CONNECTED)
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.peers.append(peer)
        packets = made.adopt_packets(ours)
        made.turn()
        peer.send(b"packet")
        made.pump(lambda: made.packets[packets])
        made.turn()
        for each in (handle, dialed, packets, listener):
            made.backend.close(each, NOW)
            made.until(each, CLOSED)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_under_a_default_timeout(backend: str) -> None:
    """Streams, datagrams, dials, from before the start and from afterwards."""
    with default_timeout(60.0), ExitStack() as stack:
        addresses = ("tcp://127.0.0.1:0", "udp://127.0.0.1:0")
        engine = stack.enter_context(ringnet.Engine(Recorder(), *addresses, backend=backend))
        talker = Talker()
        client = stack.enter_context(ringnet.Client(talker, backend=backend))
        with at_most(SOON * 3):
            for _ in range(3):
                with dial(engine) as peer:
                    peer.sendall(pattern(300_000))
                    assert receive(peer, 300_000) == pattern(300_000)
            asking = stack.enter_context(udp_peer(engine, 1))
            asking.send(b"datagram")
            assert asking.recv(20) == b"datagram"
            for address in engine.addresses:
                conn = client.dial(address)
                conn.async_write(b"dialed")
                assert talker.take(6) == b"dialed"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dupped_listener_that_is_made_blocking(backend: str) -> None:
    """Again and again, at any moment."""
    with served(backend, Recorder()) as engine, engine.dup_listener() as shared:
        over = threading.Event()

        def make_blocking() -> None:
            while not over.wait(0.0002):
                shared.settimeout(None)

        flipping = threading.Thread(target=make_blocking)
        flipping.start()
        try:
            for number in range(100):
                with dial(engine) as client:
                    client.sendall(b"%03d" % number)
                    assert receive(client, 3) == b"%03d" % number
                    assert on_loop(engine.reactors[0], lambda: 1) == 1
        finally:
            over.set()
            flipping.join(WAIT)


@pytest.mark.parametrize("second", BACKENDS)
@pytest.mark.parametrize("first", BACKENDS)
def test_a_rolling_restart_between_any_two_backends(first: str, second: str) -> None:
    """Under load: newcomers all the time, while both have the listener, and afterwards."""
    before = served(first, Recorder()).start()
    with ExitStack() as stack:
        stack.callback(before.stop)
        address = endpoint(before)
        errors: list[Exception] = []
        served_ones = 0
        over = threading.Event()

        def keep_calling() -> None:
            nonlocal served_ones
            try:
                while not over.is_set():
                    with socket.create_connection(address, timeout=WAIT) as client:
                        client.sendall(b"hello")
                        came = receive(client, 5)
                        assert came in (b"hello", b"")  # nothing: it was drained before
                        served_ones += came != b""
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=keep_calling) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            (fd,) = before.hand_over()[before.addresses[0]]
            after = stack.enter_context(ringnet.Engine(Recorder(), f"fd://{fd}", backend=second))
            for engine in (before, after) * 10:
                assert on_loop(engine.reactors[0], lambda: 1) == 1
            assert before.stop(WAIT)
            for _ in range(10):
                assert on_loop(after.reactors[0], lambda: 1) == 1
        finally:
            over.set()
            for thread in threads:
                thread.join(WAIT)
        assert errors == []
        assert served_ones > 0
