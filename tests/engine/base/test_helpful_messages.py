"""What a mistake is answered with says what to do, and says it once."""

from __future__ import annotations

import errno
import logging
import socket
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, until


def test_an_unknown_host_is_named_once() -> None:
    with pytest.raises(ringnet.AddressError) as caught:
        ringnet.Engine(Recorder(), "tcp://nosuch.invalid:0", backend="select").start()
    assert str(caught.value).count("nosuch.invalid") == 1
    assert "cannot be resolved" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "hint"), [({"log_level": "INFO"}, "info"), ({"backend": "EPOLL"}, "epoll")]
)
def test_a_choice_in_capitals(options: dict[str, str], hint: str) -> None:
    with pytest.raises(ringnet.OptionError, match=f"did you mean '{hint}'") as caught:
        ringnet.Engine(Recorder(), "tcp://:0", **options)
    assert "one of ," not in str(caught.value)


def test_a_client_that_was_not_started_or_was_stopped() -> None:
    client = ringnet.Client(Recorder(), backend="select")
    with pytest.raises(ringnet.EngineStateError, match=r"call start\(\) first"):
        client.dial("tcp://127.0.0.1:1")
    client.stop()
    with pytest.raises(ringnet.EngineStopped, match="this client was stopped: create a new one"):
        client.start()


def test_a_timeout_says_the_same_of_zero_and_below() -> None:
    with ringnet.Client(Recorder(), backend="select") as client:
        for timeout in (0, 0.0, -1):
            with pytest.raises(ValueError, match="timeout must be more than 0 seconds, or None"):
                client.register("tcp://127.0.0.1:1", timeout)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("udp4://127.0.0.1:0", "ff02::7777"),
        ("udp6://[::1]:0", "239.1.1.1"),
        ("udp://[::]:0", "239.1.1.1"),
    ],
)
def test_a_group_of_the_other_family(address: str, group: str) -> None:
    with ringnet.Engine(Recorder(), address, backend="select") as engine:
        here, other = (4, 6) if "udp4" in address else (6, 4)
        text = f"not an IPv{here} address.*use udp{other}://"
        with pytest.raises(OSError, match=text) as caught:
            engine.listeners[0].join_group(group, "lo")
    assert caught.value.errno == errno.EINVAL


def test_a_group_of_what_is_not_udp(tmp_path: Path) -> None:
    addresses = ("tcp://127.0.0.1:0", f"unixgram://{tmp_path}/socket")
    with ringnet.Engine(Recorder(), *addresses, backend="select") as engine:
        for listener in engine.listeners:
            for change in (listener.join_group, listener.leave_group):
                with pytest.raises(OSError, match="only udp:// listeners") as caught:
                    change("239.1.1.1", "lo")
                assert caught.value.errno == errno.EOPNOTSUPP


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_handler_that_fails_for_a_datagram(
    backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender has no name to answer to. No connection ends by that, for there is none."""

    class Answers(ringnet.EventHandler):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(conn.next())

    path = f"{tmp_path}/server"
    with (
        caplog.at_level(logging.ERROR, "ringnet"),
        ringnet.Engine(Answers(), f"unixgram://{path}", backend=backend),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
    ):
        nameless.sendto(b"who am I", path)
        peer.settimeout(WAIT)
        peer.bind(f"{tmp_path}/peer")
        peer.sendto(b"it goes on", path)
        assert peer.recv(100) == b"it goes on"
        until(lambda: bool(caplog.records))
    assert "on_traffic raised; the rest of the datagram is dropped" in caplog.text
    assert "the connection is closed" not in caplog.text
