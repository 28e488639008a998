"""The faults themselves: that they happen, and what a backend does that is refused something."""

from __future__ import annotations

import errno
import socket
from typing import Any

import faults
import pytest
from contract_tools import Rig
from cut_packets import KINDS_OF_PACKETS, check_cut_packet
from engine_tools import BACKENDS, Recorder, dial, open_descriptors, receive, served
from ringnet.completion import CLOSED, DATA, ERROR, NOW, Bounds
from ringnet.engine.server import choose
from ringnet.fallback import packets, pollers, sockets


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.EPERM])
def test_a_backend_that_cannot_be_made(
    backend: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two reactors gets none: `start` says so, and nothing is left."""
    real, made = choose.maker(backend), []

    def refuse(bounds: Bounds) -> Any:
        made.append(bounds)
        if len(made) == 2:
            raise OSError(number, "refused")
        return real(bounds)

    monkeypatch.setattr(choose, "maker", lambda _: refuse)
    before = open_descriptors()
    with pytest.raises(OSError, match="refused") as caught:
        served(backend, Recorder(), reactors=2).start()
    assert caught.value.errno == number
    assert open_descriptors() == before
    monkeypatch.undo()
    with served(backend, Recorder(), reactors=2) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


@pytest.mark.parametrize("name", ["epoll", "kqueue", "select"])
def test_a_descriptor_that_cannot_be_watched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """epoll_ctl(2) says ENOSPC or ENOMEM: an error of that handle, and the others go on."""
    made = Rig(name)
    handle, peer = made.pair()
    peer.sendall(b"x")
    made.until(handle, DATA)

    def refuse(fd: int, old: int, new: int) -> None:
        raise OSError(errno.ENOMEM, "no memory to watch it")

    poller: Any = made.backend.state.poller  # type: ignore[attr-defined]
    monkeypatch.setattr(poller, "change", refuse)
    second, _ = made.pair()
    assert made.until(second, ERROR) == (-errno.ENOMEM, 0)
    monkeypatch.undo()
    made.backend.close(second, NOW)
    made.until(second, CLOSED)
    peer.sendall(b"y")
    made.pump(lambda: made.received[handle] == b"xy")
    made.end()


def test_of_what_may_only_break_nothing_that_was_held_back_is_lost() -> None:
    """kqueue and select tell of it as if it were readable."""
    poller = faults.FaultyPoller(pollers.EpollPoller())
    sock, peer = socket.socketpair()
    with sock, peer:
        poller.change(sock.fileno(), 0, pollers.EDGE)
        poller.owed[sock.fileno()] = pollers.READ
        assert list(poller.wait(0, 1)) == [(sock.fileno(), pollers.READ)]
    poller.close()


@pytest.fixture
def shaken(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Faults beneath the fallbacks for one test."""
    if not faults.is_on():
        for module in (sockets, packets):
            monkeypatch.setattr(module, "socket", faults.Sockets())
        for name, kind in pollers.POLLERS.items():
            monkeypatch.setitem(pollers.POLLERS, name, faults._maker(kind))  # type: ignore[arg-type]
    yield
    faults.begin(faults.seed_of(0, ""))


@pytest.mark.parametrize("name", ["epoll", "kqueue", "select", "epoll-edge", "kqueue-edge"])
def test_the_faults_happen(name: str, shaken: Any) -> None:
    """Without it a run on faults could be one without."""

    def run(seed: int) -> dict[str, int]:
        faults.begin(seed)
        before = faults.counts.copy()
        made = Rig(name)
        handle, peer = made.pair()
        peer.sendall(b"x" * 3000)
        made.backend.send(handle, b"y" * 3000)
        assert made.exchange(peer, 3000) == b"y" * 3000
        made.pump(lambda: made.received[handle] == b"x" * 3000)
        made.end()
        return dict(faults.counts - before)

    runs = [run(seed) for seed in range(1, 40)]
    happened = set().union(*runs)
    assert {"short read", "short write", "passing error", "held back"} <= happened


def test_an_error_in_passing_is_no_end(shaken: Any) -> None:
    """ENOBUFS among them, which BSD says where the interface is busy."""
    faults.begin(0)
    ours, peer = socket.socketpair()
    with peer:
        made = Rig("epoll")
        handle = made.adopt(ours)
        fails = iter([errno.ENOBUFS, errno.EAGAIN, errno.EINTR])
        made.turn()
        slot: Any = made.backend.state.slots[handle]  # type: ignore[attr-defined]
        real = slot.sock.send

        def send(data: Any, flags: int = 0) -> Any:
            number = next(fails, 0)
            if number:
                raise OSError(number, "in passing")
            return real(data, flags)

        slot.sock.send = send
        made.backend.send(handle, b"hello")
        assert made.exchange(peer, 5) == b"hello"
        made.end()


@pytest.mark.parametrize("taken", [0, 4])
@pytest.mark.parametrize("kind", KINDS_OF_PACKETS)
@pytest.mark.parametrize("backend", ["epoll", "kqueue", "select"])
def test_a_packet_that_is_taken_in_part_was_not_sent(backend: str, kind: str, taken: int) -> None:
    """io_uring's is in core_faults.py."""
    faults.begin(0)
    check_cut_packet(backend, kind, taken)


def test_seeds_are_of_the_run_and_the_test() -> None:
    assert faults.seed_of(1, "a") != faults.seed_of(1, "b")
    assert faults.seed_of(1, "a") != faults.seed_of(2, "a")
    assert faults.seed_of(0, "a") == 0
