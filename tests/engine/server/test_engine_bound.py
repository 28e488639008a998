"""`max_buffered`: what counts, that it comes down again, and who goes on when it does."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import ringnet
from contract_tools import reset
from engine_tools import BACKENDS, Recorder, dial, on_loop, receive, served, until

KIB, MIB = 1 << 10, 1 << 20
PEERS = 60


class Quiet(Recorder):
    """Reads nothing by itself."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        pass


def opened(handler: Recorder, engine: ringnet.Engine) -> tuple[socket.socket, Any]:
    client = dial(engine)
    return client, handler.expect("open")


def write_at(conn: Any, size: int) -> bool:
    """Whether it was accepted."""
    try:
        on_loop(conn.loop, lambda: conn.write(bytes(size)))
    except ringnet.BufferLimitExceeded:
        return False
    return True


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
def test_nothing_is_counted_once_nothing_waits(backend: str, reactors: int) -> None:
    """Of peers that took all, each in its own pace, some after they had ended their side."""
    handler = Quiet()
    options = {"max_buffered": 8 * MIB, "high_water": 64 * KIB, "socket_send_buffer": 64 * KIB}
    size = 6 * MIB  # more than the sockets hold
    with served(backend, handler, reactors=reactors, **options) as engine:
        clients = []
        for number in range(PEERS):
            client, conn = opened(handler, engine)
            clients.append(client)
            assert write_at(conn, size), f"{engine.buffered} bytes are counted for {number} peers"
            if number % 3 == 0:
                client.shutdown(socket.SHUT_WR)
            taken = 0
            while taken < size:
                taken += len(receive(client, min(size - taken, 100_000 + 10_000 * number)))
            if number % 3 == 0:
                assert client.recv(1) == b""
                handler.expect("close")
            until(lambda: engine.buffered == 0)
        for client in clients:
            client.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_who_writes_on_and_on_is_counted_down_as_well(backend: str) -> None:
    """There is always something new when what was written before has left."""

    class Trickles(Quiet):
        def on_open(self, conn: ringnet.Connection) -> None:
            super().on_open(conn)
            conn.write(bytes(6 * MIB))

        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(conn.next())

        def on_writable(self, conn: ringnet.Connection) -> None:
            self.seen.put(("writable", conn.outbound_buffered))

    handler = Trickles()
    with served(backend, handler, socket_send_buffer=64 * KIB) as engine, dial(engine) as client:
        conn = handler.expect("open")
        trickle = conn.loop.repeat(0.0002, lambda: conn.write(b"x" * 100))
        taken = 0
        while handler.seen.empty():
            taken += len(client.recv(MIB))
        assert handler.expect("writable") <= 256 * KIB
        assert engine.buffered == 0
        trickle.cancel()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outcome", ["raise", "close"])
def test_large_writes_are_within_the_bound(backend: str, outcome: str) -> None:
    """Also the first of a connection, which nothing is ahead of."""
    handler = Quiet()
    bound = 20 * MIB
    options: dict[str, Any] = {"max_buffered": bound, "outbound_full": outcome}
    with served(backend, handler, **options) as engine:
        clients = [opened(handler, engine) for _ in range(10)]
        accepted = 0
        for _, conn in clients:
            done = write_at(conn, 8 * MIB)
            if outcome == "raise":
                accepted += done
            assert engine.buffered <= bound
        if outcome == "raise":
            assert 1 <= accepted < 10
        else:
            assert isinstance(handler.expect("close"), ringnet.BufferLimitExceeded)
        for client, _ in clients:
            client.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_write_that_is_larger_than_the_bound(backend: str) -> None:
    handler = Quiet()
    with served(backend, handler, max_buffered=4 * MIB) as engine:
        client, conn = opened(handler, engine)
        assert not write_at(conn, 8 * MIB)
        assert write_at(conn, 2 * MIB)
        assert receive(client, 2 * MIB) == bytes(2 * MIB)
        client.close()


class Messages(Recorder):
    """Waits for whole messages; those that begin with H are kept for ever."""

    SIZE = 1000

    def on_traffic(self, conn: ringnet.Connection) -> None:
        if conn.peek(1) != b"H" and conn.inbound_buffered >= self.SIZE:
            conn.write(conn.next(self.SIZE)[:1])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
@pytest.mark.parametrize("how", ["goes", "is read"])
def test_those_held_go_on_when_others_make_room(backend: str, reactors: int, how: str) -> None:
    """With half a message each, on whichever reactor."""
    handler = Messages()
    options: dict[str, Any] = {"max_buffered": 20_000, "inbound_full": "pause"}
    with served(backend, handler, reactors=reactors, **options) as engine:
        culprit, holds = opened(handler, engine)
        culprit.sendall(b"H" * 20_000)
        until(lambda: engine.buffered == 20_000)
        victims = [opened(handler, engine) for _ in range(20)]
        for client, _ in victims:
            client.sendall(b"v" * 500)
        until(lambda: not any(on_loop(c.loop, lambda c=c: c.is_reading) for _, c in victims))
        for client, _ in victims:
            client.sendall(b"v" * 500)
        if how == "goes":
            culprit.close()
        else:
            on_loop(holds.loop, holds.discard)
        for client, _ in victims:
            assert receive(client, 1) == b"v"
        until(lambda: engine.buffered == 0)
        assert all(on_loop(conn.loop, lambda c=conn: c.is_reading) for _, conn in victims)
        culprit.close()
        for client, _ in victims:
            client.close()
        until(lambda: engine.count_connections() == 0)
        assert all(len(reactor.held) == 0 for reactor in engine.group.reactors)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["ends", "resets"])
@pytest.mark.parametrize("bound", ["max_inbound", "max_buffered"])
def test_one_who_was_held_and_has_gone_holds_nothing(backend: str, bound: str, how: str) -> None:
    """It had sent more than may be kept, and then some, which nobody reads."""
    handler = Messages()
    options: dict[str, Any] = {bound: 20_000, "inbound_full": "pause"}
    with served(backend, handler, **options) as engine:
        culprit, holds = opened(handler, engine)
        culprit.sendall(b"H" * 20_001)
        until(lambda: not on_loop(holds.loop, lambda: holds.is_reading))
        culprit.sendall(b"H" * 10_000)
        victim, waits = opened(handler, engine)
        victim.sendall(b"v" * 500)
        if bound == "max_buffered":
            until(lambda: not on_loop(waits.loop, lambda: waits.is_reading))
        if how == "resets":
            reset(culprit)
        culprit.close()
        handler.expect("close")
        victim.sendall(b"v" * 500)
        assert receive(victim, 1) == b"v"
        victim.close()
        until(lambda: engine.count_connections() == 0)
        assert engine.buffered == 0
        assert len(engine.group.reactors[0].held) == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_pausing_does_not_cost_an_innocent_its_life(backend: str) -> None:
    """It holds nothing, and the engine is full of what another holds."""
    handler = Messages()
    with served(backend, handler, max_buffered=20_000) as engine:
        culprit, _ = opened(handler, engine)
        culprit.sendall(b"H" * 20_000)
        until(lambda: engine.buffered == 20_000)
        client, conn = opened(handler, engine)
        on_loop(conn.loop, lambda: setattr(conn._loop, "buffered", conn._loop.buffered + 1))
        on_loop(conn.loop, conn.pause_reading)
        on_loop(conn.loop, lambda: setattr(conn._loop, "buffered", conn._loop.buffered - 1))
        assert handler.seen.empty()
        on_loop(conn.loop, conn.resume_reading)
        client.sendall(b"v" * 1000)
        assert receive(client, 1) == b"v"
        culprit.close()
        client.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_those_held_go_on_though_there_was_no_memory_for_it(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Recorder()
    options = {"max_buffered": 64 * KIB, "inbound_full": "pause"}
    with served(backend, handler, **options) as engine:
        client, conn = opened(handler, engine)
        (loop,) = engine.group.reactors
        real, left = loop.backend.resume, 2

        def scarce(handle: int) -> None:
            nonlocal left
            if left:
                left -= 1
                raise MemoryError
            real(handle)

        def hold() -> None:
            loop.buffered += 64 * KIB
            conn._too_much("others hold it all")
            loop.held.add(conn)

        monkeypatch.setattr(loop.backend, "resume", scarce)
        on_loop(loop, hold)
        client.sendall(b"x")

        def make_room() -> None:
            loop.buffered -= 64 * KIB

        on_loop(loop, make_room)
        assert receive(client, 1) == b"x"
        assert not left
        client.close()
