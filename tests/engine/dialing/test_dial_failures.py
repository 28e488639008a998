"""Whatever is dialed, and whatever goes wrong on the way, is an error of that dial alone."""

from __future__ import annotations

import errno
import gc
import math
import socket
import threading
import weakref
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import ringnet
from dial_tools import Full, Names, closed_port
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
    dial,
    endpoint,
    on_loop,
    open_descriptors,
    receive,
    until,
)
from ringnet.engine.reactor.dial import Dial

HOSTS = [
    "a" * 64 + ".example",
    "a..b",
    ".x",
    ".",
    "a\0b",
    "127.0.0.1\0.example",
    "\udc80",
    "\ud800.example",
    "xn--\u00fc",
    "\u2028",
    "\x01",
    "a" * 100_000,
    ("a" * 60 + ".") * 500,
    "\u00fc" * 200,
    "\uff11\uff12\uff17.0.0.1",  # 127.0.0.1, in full-width digits
]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.mark.parametrize("backend", BACKENDS)
def test_hosts_that_no_resolver_takes(backend: str) -> None:
    """The future has the error; the engine and its other connections are not concerned."""
    before = open_descriptors()
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as other:
            for scheme in ("tcp", "udp", "tcp6"):
                futures = [engine.register(f"{scheme}://{host}:80") for host in HOSTS]
                for future in futures:
                    with pytest.raises(socket.gaierror, match="cannot be resolved") as caught:
                        future.result(WAIT)
                    assert len(str(caught.value)) < 1000
            other.sendall(b"still here")
            assert receive(other, 10) == b"still here"
        until(lambda: not engine.group.reactors[0].dials.pending)
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_host_that_a_peer_sent(backend: str) -> None:
    class Proxy(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            host = conn.next().decode("utf-8", "surrogateescape")
            future = conn.loop.register(f"tcp://{host}:80")
            future.add_done_callback(
                lambda done: conn.async_write(type(done.exception()).__name__.encode())
            )

    with ringnet.Engine(Proxy(), "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as peer:
            for host in (b"a..b", b"a" * 64 + b".example", b"\xff", b"a\0b"):
                peer.sendall(host)
                assert receive(peer, 8) == b"gaierror"


@pytest.mark.parametrize("backend", BACKENDS)
def test_times_are_checked_at_the_call(backend: str) -> None:
    with ringnet.Client(Talker(), backend=backend) as client:
        address = f"tcp://127.0.0.1:{closed_port()}"
        for wrong in (Decimal(5), Fraction(1, 2), "5", b"5", True, 5j, [5]):
            with pytest.raises(TypeError, match="timeout must be a number of seconds"):
                client.register(address, timeout=wrong)  # type: ignore[arg-type]
        for value in (10**400, 10**5000, -(10**400), -1, -0.5, math.nan, -math.inf):
            with pytest.raises(ValueError, match="timeout must be"):
                client.register(address, timeout=value)
        for value in (math.inf, 1e300, 10**300, 5):
            with pytest.raises(ConnectionRefusedError):
                client.register(address, timeout=value).result(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loop_is_checked_at_the_call(backend: str) -> None:
    with (
        ringnet.Client(Talker(), backend=backend) as client,
        ringnet.Client(Talker(), backend=backend) as other,
    ):
        for wrong in (0, "loop", other.engine.reactors[0]):
            with pytest.raises(TypeError, match="event loop of"):
                client.register("tcp://127.0.0.1:1", loop=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_a_name_with_very_many_addresses(backend: str, scheme: str, names: Names) -> None:
    """They fail at once, all of them, or all but the last: others on the loop are served."""
    before = open_descriptors()
    with (
        ringnet.Engine(Recorder(), f"{scheme}4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend) as client,
    ):
        loop = client.engine.group.reactors[0]
        names.addresses = [(f"no number {n}", 1) for n in range(3000)]
        with pytest.raises(OSError, match="and 2991 more") as caught:
            client.dial(f"{scheme}://several.test:1")
        assert len(str(caught.value)) < 3000
        names.addresses = [*names.addresses, endpoint(engine)]
        future = client.register(f"{scheme}://several.test:1")
        seen = []
        while not future.done():  # whoever else is on the loop has a turn between
            seen.append(on_loop(loop, lambda: loop.dials.pending and True))
        assert future.result(0).loop is loop.face
        assert len(seen) > 1
        until(lambda: not loop.dials.attempts)
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_as_many_addresses_as_the_option_says(backend: str, names: Names) -> None:
    with (
        ringnet.Engine(Recorder(), "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend, connect_addresses=3) as client,
    ):
        bad = [("127.0.0.1", closed_port())]
        names.addresses = [("127.0.0.2", bad[0][1]), *bad, endpoint(engine)]
        client.dial("tcp://several.test:1")
        names.addresses = [("127.0.0.3", bad[0][1]), *names.addresses]
        with pytest.raises(ConnectionRefusedError):
            client.dial("tcp://several.test:1")
        names.addresses = []
        with pytest.raises(socket.gaierror, match="no address"):
            client.dial("tcp://several.test:1")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "error", [ValueError("wrong"), MemoryError(), RecursionError(), KeyError(1)]
)
def test_any_exception_on_the_way_ends_the_dial(
    backend: str, error: Exception, monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    """In whatever step it happens: the future has it, and the next dial works."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    steps = ["_begin", "_try", "_next", "_make_socket", "_connected", "_refused", "_time_out"]
    port = closed_port()
    with (
        ringnet.Engine(Recorder(), "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend) as client,
        Full() as silent,
    ):
        where = {
            "_refused": ("127.0.0.1", port),
            "_time_out": ("127.0.0.1", int(silent.rpartition(":")[2])),
        }
        for step in steps:
            names.addresses = [where.get(step, endpoint(engine))]
            with monkeypatch.context() as patch:
                patch.setattr(Dial, step, fail)
                future = client.register("tcp://several.test:1", 0.2 if step == "_time_out" else 20)
                with pytest.raises((type(error), OSError)):
                    future.result(WAIT)
        (loop,) = client.engine.group.reactors
        for place, name in [
            (loop.streams, "connected"),
            (loop.streams, "welcome"),
            (loop, "take_handle"),
        ]:
            names.addresses = [endpoint(engine)]
            with monkeypatch.context() as patch:
                patch.setattr(place, name, fail)
                with pytest.raises((type(error), OSError)):
                    client.register("tcp://several.test:1").result(WAIT)
        client.dial(engine.addresses[0])
        until(lambda: not client.engine.group.reactors[0].dials.attempts)
        until(lambda: client.engine.count_connections() == 1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_thread_for_the_resolver(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with ringnet.Client(Talker(), backend=backend) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", no_thread)
            future = client.register("tcp://somewhere.test:1")
            with pytest.raises(OSError, match="cannot be resolved"):
                future.result(WAIT)
        with pytest.raises(ConnectionRefusedError):
            client.dial(f"tcp://127.0.0.1:{closed_port()}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_callback_of_the_future_that_raises(backend: str) -> None:
    def fail(_: object) -> None:
        raise ValueError("mine")

    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        for address in (engine.addresses[0], f"tcp://127.0.0.1:{closed_port()}"):
            future = on_loop(engine.reactors[0], lambda at=address: registered(engine, at, fail))
            assert future.exception(WAIT) is None or address != engine.addresses[0]
        taken = engine.register(engine.addresses[0])
        taken.set_result(None)  # type: ignore[arg-type]  # it is not theirs to set
        with dial(engine) as peer:
            peer.sendall(b"on")
            assert receive(peer, 2) == b"on"


def registered(engine: ringnet.Engine, address: str, call: Any) -> Any:
    future = engine.register(address)
    future.add_done_callback(call)
    return future


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial_that_failed_leaves_no_cycle(backend: str, names: Names) -> None:
    """Its objects are freed without the garbage collector."""
    names.addresses = [("127.0.0.1", closed_port())] * 3
    with Full() as silent, ringnet.Client(Talker(), backend=backend) as client:
        loop = client.engine.group.reactors[0]
        gc.collect()
        gc.disable()
        try:
            for address in ("tcp://several.test:1", "tcp://a..b:1", "tcp://no.invalid:1", silent):
                future = client.register(address, timeout=0.3)
                until(lambda: loop.dials.pending or future.done())  # noqa: B023
                dials = [weakref.ref(one) for one in list(loop.dials.pending)]
                with pytest.raises(OSError):  # noqa: PT011
                    future.result(WAIT)
                loop.face.schedule(
                    0, bool
                )  # the loop keeps the last call of a timer until the next
                until(lambda: all(one() is None for one in dials))  # noqa: B023
        finally:
            gc.enable()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_failing_dial_has_an_errno(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What prepares the sockets may raise anything."""

    def fail(*_: Any) -> None:
        raise UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed")

    monkeypatch.setattr("ringnet.engine.reactor.dial.prepare_socket", fail)
    with ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(OSError, match="surrogates") as caught:
            client.dial("tcp://127.0.0.1:1")
        assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("backend", BACKENDS)
def test_dials_on_their_way_have_a_bound(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that wait for a resolver, and have no descriptor yet."""
    go_on = threading.Event()

    def slow(*_: Any, **more: Any) -> Any:
        if not more.get("flags"):
            go_on.wait(WAIT)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    handler = Talker()
    with ringnet.Client(handler, backend=backend, max_connections=4) as client:
        most = client.engine.group.reactors[0].backend.capacity
        monkeypatch.setattr(socket, "getaddrinfo", slow)
        futures = [client.register("tcp://slow.example:80") for _ in range(most + 2)]
        for future in futures[most:]:
            with pytest.raises(OSError, match="dials in progress") as refused:
                future.result(WAIT)
            assert refused.value.errno == errno.EMFILE
        assert not any(future.done() for future in futures[:most])
        go_on.set()
        for future in futures[:most]:
            with pytest.raises(OSError, match=r"slow\.example"):
                future.result(WAIT)
        with pytest.raises(OSError, match=r"slow\.example"):
            client.register("tcp://slow.example:80").result(WAIT)
