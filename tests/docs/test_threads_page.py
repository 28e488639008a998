"""The tables of docs/threads.md say what may be called from which thread: they are complete, and
what they say of connections and datagrams is tried."""

from __future__ import annotations

import io
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, endpoint, on_loop
from places import ROOT

# Names without an underscore that are for other parts of the engine only.
FOR_THE_ENGINE = {
    "Timer": "after every when",
    "Engine": "after_fork budget dialer end_with ground group is_forked is_given_up life log "
    "logging make_backend needs origin reactor_ended resolvers run_here",
    "Listener": "close descriptors has_one_for_each inheritable leave_file parsed prepares_each",
    "WorkerPool": "after_fork family",
}
ARGUMENTS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "readinto": lambda: (bytearray(1),),
    "write_to": lambda: (io.BytesIO(),),
    "read_from": lambda: (io.BytesIO(b"x"),),
    "write": lambda: (b"x",),
    "writev": lambda: ([b"x"],),
    "async_write": lambda: (b"x",),
    "async_writev": lambda: ([b"x"],),
    "send_to": lambda: (b"x", ("127.0.0.1", 9)),
    "set_bind_to_device": lambda: ("",),
    "set_multicast_interface": lambda: ("",),
}


def table(which: str) -> dict[str, list[str]]:
    """The names by object, of the table whose second column has that head."""
    text = (ROOT / "docs" / "threads.md").read_text(encoding="utf-8")
    lines = text.partition(f"| object | {which} |\n")[2].partition("\n\n")[0].splitlines()[1:]
    assert lines, which
    return {found[0]: found[1:] for found in (re.findall(r"`(\w+)`", line) for line in lines)}


ANY, OWN, UNCHECKED = table("from any thread"), table("on its own thread"), table("not checked")


def an_object(kind: str) -> object:
    if kind == "Engine":
        return ringnet.Engine(ringnet.EventHandler(), "tcp://127.0.0.1:0")
    if kind == "Client":
        return ringnet.Client(ringnet.EventHandler())
    if kind in ("WorkerPool", "MultiPool"):
        return getattr(ringnet, kind)(*([1] if kind == "WorkerPool" else [1, 1]))
    return getattr(ringnet, kind)


@pytest.mark.parametrize("kind", ANY)
def test_every_public_name_is_in_a_table(kind: str) -> None:
    tables = {name for found in (ANY, OWN, UNCHECKED) for name in found.get(kind, [])}
    inner = set(FOR_THE_ENGINE.get(kind, "").split())
    public = {name for name in dir(an_object(kind)) if not name.startswith("_")}
    if kind == "Listener":
        public.add("prepares_each")  # of instances
    assert tables | inner == public
    assert not tables & inner


def use(conn: object, name: str) -> object:
    if not callable(getattr(type(conn), name, None)):
        return getattr(conn, name)
    more = (1,) if name.startswith("set_") else ()
    return getattr(conn, name)(*ARGUMENTS.get(name, lambda: more)())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("kind", "scheme", "sort"),
    [("Connection", "tcp", socket.SOCK_STREAM), ("Datagram", "udp", socket.SOCK_DGRAM)],
)
def test_what_other_threads_may_use(backend: str, kind: str, scheme: str, sort: int) -> None:
    class Keeps(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            pass

        def on_traffic(self, conn: Any) -> None:
            self.seen.put(("traffic", conn))

        def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
            pass

    handler = Keeps()
    address = f"{scheme}://127.0.0.1:0"
    with (
        ringnet.Engine(handler, address, backend=backend) as engine,
        socket.socket(type=sort) as client,
    ):
        client.settimeout(WAIT)
        client.connect(endpoint(engine))
        client.sendall(b"x")
        conn = handler.expect("traffic")
        on_loop(conn.loop, lambda: None)  # so that `on_traffic` has returned
        if kind == "Connection":
            conn._remote = None  # as where nothing has asked yet
        for name in OWN[kind]:
            if (kind, name) == ("Connection", "send_to"):
                continue  # UsageError, on every thread
            with pytest.raises(ringnet.WrongThread):
                use(conn, name)
        assert type(conn).__name__.endswith(kind)
        for name in sorted(ANY[kind], key=lambda name: name == "close"):
            use(conn, name)
