"""Listening: names with several addresses, addresses that mean the same when they are used again,
and remedies that fit what is wrong."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, Talker, on_loop, open_descriptors
from ringnet.engine.base.address import parse_address
from ringnet.engine.base.remedies import refused
from ringnet.engine.connection.listener import Listener

LOCALHOST = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]


class Hosts:
    """Takes the resolver's place for the name `both.test`."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.targets: list[Any] = [*LOCALHOST, *LOCALHOST]  # as glibc often has them, twice
        self._real = socket.getaddrinfo
        patch.setattr(socket, "getaddrinfo", self.answer)

    def answer(self, host: Any, port: int, *rest: Any, **more: Any) -> Any:
        if host != "both.test":
            return self._real(host, port, *rest, **more)
        if more["flags"] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [
            (family, more["type"], 0, "", (where[0], port, *where[2:]))
            for family, where in self.targets
            if more["family"] in (family, socket.AF_UNSPEC)
        ]


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> Hosts:
    return Hosts(monkeypatch)


def ports(engine: ringnet.Engine) -> list[int]:
    return [parse_address(address).port for address in engine.addresses]


def answers(kind: int, host: str, port: int) -> bool:
    """Whether an echo is at that address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as peer:
        peer.settimeout(WAIT)
        try:
            peer.connect((host, port))
            peer.send(b"?")
            return peer.recv(10) == b"?"
        except ConnectionRefusedError:
            return False


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
@pytest.mark.parametrize("options", [{}, {"reactors": 2, "reuse_port": True}])
def test_a_name_is_listened_on_at_all_its_addresses(
    backend: str, scheme: str, options: dict[str, Any], hosts: Hosts
) -> None:
    before = open_descriptors()
    kind = socket.SOCK_STREAM if scheme == "tcp" else socket.SOCK_DGRAM
    address = f"{scheme}://both.test:0"
    with ringnet.Engine(Recorder(), address, backend=backend, **options) as engine:
        port = ports(engine)[0]
        assert engine.addresses == (f"{scheme}://[::1]:{port}", f"{scheme}://127.0.0.1:{port}")
        assert answers(kind, "::1", port)
        assert answers(kind, "127.0.0.1", port)
        with ringnet.Client(Talker(), backend=backend) as client:
            client.dial(f"{scheme}://both.test:{port}")
    only = f"{scheme}4://both.test:0"
    with ringnet.Engine(Recorder(), only, backend=backend) as engine:
        assert engine.addresses == (f"{scheme}4://127.0.0.1:{ports(engine)[0]}",)
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_addresses_of_a_name_that_this_machine_has_not(backend: str, hosts: Hosts) -> None:
    """As where /etc/hosts has ::1 and IPv6 is off: the others are listened on."""
    hosts.targets = [(socket.AF_INET6, ("2001:db8::1", 0, 0, 0)), LOCALHOST[1]]
    with ringnet.Engine(Recorder(), "tcp://both.test:0", backend=backend) as engine:
        assert engine.addresses == (f"tcp://127.0.0.1:{ports(engine)[0]}",)
    hosts.targets = [*hosts.targets[:1], (socket.AF_INET, ("192.0.2.1", 0))]
    with pytest.raises(ringnet.BindError, match="no interface") as caught:
        ringnet.Engine(Recorder(), "tcp://both.test:0", backend=backend).start()
    assert caught.value.errno == errno.EADDRNOTAVAIL
    hosts.targets = [(socket.AF_INET, (f"127.0.1.{n}", 0)) for n in range(1, 100)]
    with pytest.raises(ringnet.AddressError, match="99 addresses"):
        ringnet.Engine(Recorder(), "tcp://both.test:0", backend=backend).start()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_port_that_is_taken_at_one_address(backend: str, hosts: Hosts) -> None:
    before = open_descriptors()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ringnet.BindError, match=f"both.test:{port}.*another process"):
            ringnet.Engine(Recorder(), f"tcp://both.test:{port}", backend=backend).start()
        with socket.socket(socket.AF_INET6) as free:
            free.bind(("::1", port))  # nothing was left bound
    assert open_descriptors() == before


WILDCARDS = {
    # What is asked for: whether 127.0.0.1 and ::1 are served.
    "tcp://:0": (True, True),
    "tcp4://:0": (True, False),
    "tcp6://:0": (False, True),
    "tcp://0.0.0.0:0": (True, False),
    "tcp://[::]:0": (False, True),
    "tcp://[::1]:0": (False, True),
    "tcp://[::ffff:127.0.0.1]:0": (True, False),
    "udp://:0": (True, True),
    "udp4://:0": (True, False),
    "udp6://:0": (False, True),
    "udp://[::]:0": (False, True),
    "udp://127.0.0.1:0": (True, False),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("address", WILDCARDS)
def test_addresses_that_were_bound_bind_the_same_again(backend: str, address: str) -> None:
    kind = socket.SOCK_STREAM if address.startswith("tcp") else socket.SOCK_DGRAM
    for _ in range(2):
        with ringnet.Engine(Recorder(), address, backend=backend) as engine:
            (printed,) = engine.addresses
            port = ports(engine)[0]
            found = answers(kind, "127.0.0.1", port), answers(kind, "::1", port)
            assert found == WILDCARDS.get(address, found)
            with ringnet.Client(Talker(), backend=backend) as client:
                client.dial(printed)
            fds = engine.hand_over()[printed]
        # A successor that inherits the socket tells the same address.
        with ringnet.Engine(Recorder(), f"fd://{fds[0]}", backend=backend) as heir:
            assert parse_address(heir.addresses[0]).host == parse_address(printed).host
            assert (answers(kind, "127.0.0.1", port), answers(kind, "::1", port)) == found
        WILDCARDS[printed] = found
        address = printed


@pytest.mark.parametrize("backend", BACKENDS)
def test_unix_addresses_of_inherited_sockets(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"@": "unix://./@", "s": "unix://s", "\0ringnet-b": "unix://@ringnet-b"}
    for name, printed in names.items():
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(name)
        sock.listen()
        with ringnet.Engine(Recorder(), f"fd://{sock.detach()}", backend=backend) as engine:
            assert engine.addresses == (printed,)
            with ringnet.Client(Talker(), backend=backend) as client:
                client.dial(printed)


def test_a_descriptor_that_is_given_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = f"fd://{sock.fileno()}"
        with pytest.raises(ringnet.AddressError, match="twice"):
            ringnet.Engine(Recorder(), address, address).start()
        assert sock.getsockname()


# Remedies


def refusal(address: str) -> ringnet.BindError:
    with pytest.raises(ringnet.BindError) as caught:
        ringnet.Engine(Recorder(), address).start()
    return caught.value


@pytest.mark.parametrize("scheme", ["unix", "unixgram", "unixpacket"])
def test_what_is_wrong_with_a_path(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "directory").mkdir()
    cases = {
        "directory": (errno.EADDRINUSE, "there is a directory"),
        "file": (errno.EADDRINUSE, "there is a file that is not a socket"),
        "dangling": (errno.EADDRINUSE, "a dangling symbolic link"),
        "circle/s": (errno.ELOOP, "form a loop"),
        "file/s": (errno.ENOTDIR, "not a directory"),
        "missing/s": (errno.ENOENT, "create it"),
    }
    before = open_descriptors()
    for path, (number, says) in cases.items():
        error = refusal(f"{scheme}://{tmp_path}/{path}")
        assert error.errno == number, path
        assert says in str(error)
        assert "port" not in str(error)
        assert "process" not in str(error)
    assert "does not support sockets" in str(refusal(f"{scheme}:///proc/ringnet"))
    assert open_descriptors() == before
    assert (tmp_path / "file").read_bytes() == b""
    assert (tmp_path / "dangling").is_symlink()


def test_a_path_that_is_in_use(tmp_path: Path) -> None:
    with ringnet.Engine(Recorder(), f"unix://{tmp_path}/s", "unix://@ringnet-used"):
        for address, says in ((f"unix://{tmp_path}/s", "path"), ("unix://@ringnet-used", "name")):
            error = refusal(address)
            assert error.errno == errno.EADDRINUSE
            assert "another process or engine" in str(error)
            assert f"use another {says}" in str(error)


UNPRIVILEGED = """
import os, sys, ringnet
os.setuid(65534)
try:
    ringnet.Engine(ringnet.EventHandler(), sys.argv[1], backend="epoll").start()
except ringnet.BindError as error:
    print(error.errno, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_rights(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"{tmp_path}/left")
    os.chmod(f"{tmp_path}/left", 0o600)
    for path in ("new", "left"):
        done = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, f"unix://{tmp_path}/{path}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "port" not in done.stdout, done
        assert "user" in done.stdout, done


@pytest.mark.parametrize(
    ("address", "number", "says"),
    [
        ("unix:///x", errno.EROFS, "read-only"),
        ("unix:///x", errno.ENOSPC, "full"),
        ("unix:///x", errno.EACCES, "another directory"),
        ("unix:///x", errno.EPERM, "another directory"),
        ("tcp://127.0.0.1:80", errno.EACCES, "ports below 1024"),
        ("tcp://127.0.0.1:8080", errno.EACCES, "policy"),
        ("tcp://[fe80::1]:80", errno.EINVAL, "eth0"),
        ("fd://9", errno.EBADF, "inherited"),
        ("tcp://[2001:db8::1]:80", errno.EAFNOSUPPORT, "family"),
        ("tcp://127.0.0.1:80", errno.EMFILE, "ulimit"),
    ],
)
def test_each_remedy(address: str, number: int, says: str) -> None:
    error = refused(parse_address(address), OSError(number, os.strerror(number)))
    assert error.errno == number
    assert says in str(error)


@pytest.mark.parametrize(
    ("address", "number"), [("tcp://127.0.0.1:80", errno.EINVAL), ("fd://9", errno.EAFNOSUPPORT)]
)
def test_no_remedy_where_none_is_known(address: str, number: int) -> None:
    error = refused(parse_address(address), OSError(number, os.strerror(number)))
    assert str(error).endswith(os.strerror(number))


# Handing over, and stopping meanwhile


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_handing_over_where_one_duplicate_fails(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.dup, [0]

    def dup(fd: int) -> int:
        calls[0] += 1
        if calls[0] == failing:
            raise OSError(errno.EMFILE, "no more")
        return real(fd)

    addresses = ["tcp://127.0.0.1:0", f"unix://{tmp_path}/s"]
    with ringnet.Engine(Recorder(), *addresses, reactors=2, reuse_port=True) as engine:
        for reactor in engine.reactors:
            on_loop(reactor, bool)  # it listens by now, and has its own descriptors
        before = open_descriptors()
        with monkeypatch.context() as patch:
            patch.setattr(os, "dup", dup)
            with pytest.raises(OSError, match="no more"):
                engine.hand_over()
        assert open_descriptors() == before
    assert not (tmp_path / "s").exists()  # it was not handed over, and is removed as ever


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", ["descriptors", "post"])
def test_stopping_while_it_starts_to_serve(
    backend: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread stops the engine between two steps of its start: nothing is left open."""
    before = open_descriptors()
    engine = ringnet.Engine(
        Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=3, reuse_port=True
    )
    real = Listener.descriptors

    def stop() -> None:
        engine.request_stop(0)
        for reactor in engine.group.reactors:
            assert reactor.thread is not None
            reactor.thread.join(WAIT)

    def descriptors(listener: Listener) -> list[int]:
        if step == "descriptors":
            stop()
        found = real(listener)
        if step == "post":
            stop()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Listener, "descriptors", descriptors)
        engine.start()
    assert engine.wait(WAIT)
    assert open_descriptors() == before
