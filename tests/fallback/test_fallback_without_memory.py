"""The fallback where one step of it finds no memory: nothing is forgotten, or counted for ever."""

from __future__ import annotations

import errno
import importlib
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract_tools import Rig, close_all
from ringnet.completion import DATA, ERROR, REFUSED
from ringnet.fallback.events import Events
from ringnet.fallback.retries import Retries
from ringnet.fallback.slot import Role, Slot
from ringnet.sockaddr import pack

FALLBACKS = ("epoll", "select")


class NoMemory:
    """Mixed into a list or a deque: the first append fails."""

    is_short = True

    def append(self, item: Any) -> None:
        if self.is_short:
            self.is_short = False
            raise MemoryError
        super().append(item)  # type: ignore[misc]


class ShortList(NoMemory, list[Any]):
    pass


class ShortDeque(NoMemory, deque[Any]):
    pass


def test_a_late_event_is_not_lost() -> None:
    events = Events(1)
    first, second = (1, DATA, 0, 1), (1, ERROR, -5, 0)
    events.emit(first)
    events.emit(second)
    assert (events.current, list(events.late)) == ([first], [second])
    events.current = ShortList()
    with pytest.raises(MemoryError):
        events.fill_up()
    events.fill_up()
    assert (events.current, list(events.late)) == ([second], [])


def test_what_is_to_be_tried_again_is_not_forgotten() -> None:
    retries = Retries()
    retries.slots = ShortDeque()
    slot = Slot(1, 1, 1, Role.PACKETS)
    retries.add(slot)
    retries.add(slot)
    assert list(retries.slots) == [slot]


def short_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, which finds no memory the first time."""
    left = [MemoryError()]

    def short(*arguments: Any) -> Any:
        if left:
            raise left.pop()
        return call(*arguments)

    return short


def shorten(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    path = f"ringnet.fallback.{module}.{name}"
    real = importlib.import_module(f"ringnet.fallback.{module}")
    monkeypatch.setattr(path, short_once(getattr(real, name)))


@pytest.fixture(params=FALLBACKS)
def made(request: pytest.FixtureRequest) -> Any:
    rig = Rig(request.param)
    yield rig
    rig.end()


class Receiver:
    """A Unix socket of datagrams that nobody reads, and a handle that sends to it."""

    def __init__(self, made: Rig, folder: Path) -> None:
        self.made = made
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.peers.append(self.sock)
        self.sock.bind(str(folder / "receiver"))
        self.sock.settimeout(10)
        self.name = pack(socket.AF_UNIX, self.sock.getsockname())
        self.handle = made.adopt_packets(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))

    def send(self, data: bytes = b"x") -> None:
        self.made.backend.send_to(self.handle, data, self.name)
        self.made.turn()

    def fill(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"other", self.sock.getsockname())

    def take_until(self, data: bytes) -> None:
        def came() -> bool:
            self.sock.setblocking(False)
            try:
                return self.sock.recv(100) == data
            except BlockingIOError:
                return False

        self.made.pump(came)


@pytest.mark.parametrize("step", ["packets.way_to", "packets.deque"])
def test_a_packet_that_cannot_be_kept_is_refused(
    made: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    to = Receiver(made, tmp_path)
    shorten(monkeypatch, *step.split("."))
    to.send()
    assert made.until(to.handle, REFUSED) == (-errno.ENOMEM, 1)
    assert made.staged(to.handle) == 0
    to.send(b"next")
    to.take_until(b"next")


@pytest.mark.parametrize("step", ["Lines", "deque"])
def test_a_line_that_cannot_begin(
    made: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    to = Receiver(made, tmp_path)
    to.fill()
    shorten(monkeypatch, "lines", step)
    to.send()
    assert made.until(to.handle, REFUSED) == (-errno.ENOMEM, 1)
    assert made.staged(to.handle) == 0
    to.send(b"next")
    to.take_until(b"next")
    assert made.staged(to.handle) == 0


@pytest.mark.parametrize("step", ["packets.try_lines", "lines.islice"])
def test_lines_are_tried_again(
    made: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    to = Receiver(made, tmp_path)
    to.fill()
    to.send()
    shorten(monkeypatch, *step.split("."))
    to.take_until(b"x")
    assert made.staged(to.handle) == 0


def test_an_error_is_reported_though_the_poller_finds_no_memory(
    made: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, peer = made.pair()
    made.settle()
    poller: Any = made.backend.state.poller  # type: ignore[attr-defined]
    monkeypatch.setattr(poller, "change", short_once(poller.change))
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    assert made.until(handle, ERROR) == (-errno.ECONNRESET, 0)


@pytest.mark.parametrize(
    ("begin", "step"),
    [
        (lambda made: made.listen()[0], "of_listener"),
        (lambda made: made.pair()[0], "of_stream"),
        (lambda made: made.adopt_packets(socket.socket(type=socket.SOCK_DGRAM)), "of_packets"),
        (lambda made: made.adopt_packets(socket.socket(type=socket.SOCK_DGRAM)), "tells_local"),
    ],
    ids=["listener", "stream", "packets", "packets with their local addresses"],
)
def test_what_cannot_begin_is_an_error(
    made: Rig, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Rig], int], step: str
) -> None:
    shorten(monkeypatch, "starts", step)
    handle = begin(made)
    assert made.until(handle, ERROR) == (-errno.ENOMEM, 0)
    made.backend.send_to(handle, b"never")
    made.backend.resume(handle)
    close_all(made, [handle])
