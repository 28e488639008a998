"""The engine's options: one frozen dataclass, checked in one place.

Every quantity that can grow has its bound here, with its unit and its range.
"""

from __future__ import annotations

import difflib
import logging
import os
from dataclasses import dataclass, field, fields
from typing import Any

from ...completion import Bounds
from .balancer import BALANCERS, Balancer
from .errors import OptionError, shown
from .multicast import INT_RANGE, is_interface_name

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
_LINE_BYTES = Bounds().line_bytes
BACKENDS = ("auto", "io_uring", "epoll", "kqueue", "select")
HIGHEST_CPU = 65_535  # more than any system numbers
_COMPARED = 40  # characters of a wrong name or value that are used to find the nearest one
LEVELS = ("", "debug", "info", "warning", "error", "critical")


def _whole(default: int, low: int, high: int, unit: str, meaning: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "unit": unit, "doc": meaning})


def _seconds(default: float, low: float, high: float, meaning: str) -> Any:
    return field(default=default, metadata={"range": (low, high), "unit": "s", "doc": meaning})


def _choice(default: str, choices: tuple[str, ...], meaning: str) -> Any:
    return field(default=default, metadata={"choices": choices, "doc": meaning})


def _switch(default: bool, meaning: str) -> Any:
    return field(default=default, metadata={"doc": meaning})


def _object(default: Any, test: Any, may_be: str, meaning: str) -> Any:
    return field(default=default, metadata={"test": test, "may_be": may_be, "doc": meaning})


def _is_balancer(value: Any) -> bool:
    return callable(value) or (isinstance(value, str) and value in BALANCERS)


def _are_cpus(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        type(cpu) is int and 0 <= cpu <= HIGHEST_CPU for cpu in value
    )


def _is_interface(value: Any) -> bool:
    if isinstance(value, str):
        return is_interface_name(value)
    return type(value) is int and 0 <= value < INT_RANGE


def _is_device(value: Any) -> bool:
    return isinstance(value, str) and is_interface_name(value)


def _is_path(value: Any) -> bool:
    """Whether a file could have that name."""
    try:
        return isinstance(value, str) and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        return False


def _is_logger(value: Any) -> bool:
    return value is None or isinstance(value, logging.Logger)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of an engine. See `docs/options.md` for the same as a table."""

    backend: str = _choice("auto", BACKENDS, "the interface to the kernel")
    reactors: int = _whole(
        1, 1, 1024, "threads", "number of event loops, each with its own thread and backend"
    )
    multicore: bool = _switch(False, "use one reactor per usable CPU, unless `reactors` is given")
    cpus: tuple[int, ...] = _object(
        (), _are_cpus, "tuple of CPU numbers", "pin reactor i to the i-th of these CPUs"
    )
    reuse_port: bool = _switch(
        False,
        "each reactor has its own listening socket (SO_REUSEPORT); "
        "only the first one receives multicast",
    )
    reuse_address: bool = _switch(
        True,
        "listen even if old connections of that port are in TIME_WAIT (SO_REUSEADDR)",
    )
    load_balancing: str | Balancer[Any] = _object(
        "round_robin",
        _is_balancer,
        ", ".join(f"`{name}`" for name in BALANCERS) + ", or f(reactors, address)",
        "which reactor gets an accepted connection",
    )
    backlog: int = _whole(
        4096, 1, 65_535, "connections", "most connections waiting to be accepted (listen(2))"
    )
    max_connections: int = _whole(
        65_536, 1, 8_388_608, "connections", "most connections open at once in the engine"
    )
    at_max_connections: str = _choice(
        "close",
        ("close", "wait"),
        "beyond that, new connections are closed, or wait in the backlog",
    )
    max_inbound: int = _whole(
        64 * MIB, 1, 1 << 40, "bytes", "most bytes that a handler may leave unread on a connection"
    )
    inbound_full: str = _choice(
        "close",
        ("close", "pause"),
        "beyond that, the connection is closed, or not read until half is consumed",
    )
    max_outbound: int = _whole(
        64 * MIB, 1, 1 << 40, "bytes", "most bytes of a connection that may wait to be sent"
    )
    outbound_full: str = _choice(
        "raise", ("raise", "close"), "beyond that, `write` raises, or the connection is closed"
    )
    high_water: int = _whole(
        MIB, 1, 1 << 40, "bytes", "`is_writable` is False once more bytes than this wait to be sent"
    )
    low_water: int = _whole(
        256 * KIB,
        0,
        1 << 40,
        "bytes",
        "`on_writable` is called when no more bytes than this are left to be sent; "
        "where only `high_water` is given, a quarter of it, at most the default",
    )
    max_buffered: int = _whole(
        GIB,
        1,
        1 << 50,
        "bytes",
        "most bytes that are unread, or wait above the high-water marks, in the whole engine",
    )
    again_per_turn: int = _whole(
        256,
        1,
        1 << 20,
        "calls",
        "most calls for `Action.AGAIN` before other events are served",
    )
    stage_bytes: int = _whole(
        64 * KIB,
        512,
        64 * MIB,
        "bytes",
        "most bytes of a connection that are copied to the backend to be sent",
    )
    receive_buffers: int = _whole(
        8, 1, 32_768, "buffers", "buffers of each reactor for incoming data"
    )
    receive_buffer_size: int = _whole(
        256 * KIB,
        64,
        64 * MIB,
        "bytes",
        "size of each, and the most that is read from a connection at once",
    )
    kept_memory: int = _whole(
        16 * MIB,
        0,
        1 << 30,
        "bytes",
        "freed memory that the C library keeps for reuse (mallopt(3)); 0: the system's default",
    )
    datagram_buffers: int = _whole(
        64, 1, 32_768, "buffers", "buffers of each reactor for incoming datagrams"
    )
    max_datagram: int = _whole(
        65_536,
        1,
        16 * MIB,
        "bytes",
        "longest datagram received; a longer one is counted, logged and dropped",
    )
    edge_triggered: bool = _switch(False, "use edge-triggered notification with epoll and kqueue")
    edge_triggered_chunk: int = _whole(
        MIB,
        1,
        1 << 30,
        "bytes",
        "most bytes read from a connection before others are read; implies `edge_triggered`",
    )
    events_per_turn: int = _whole(
        1024, 1, 1 << 20, "events", "most events taken from the backend at once"
    )
    max_foreign_calls: int = _whole(
        1 << 20, 1, 1 << 32, "calls", "most calls from other threads that wait for a reactor"
    )
    connect_timeout: float = _seconds(
        30.0, 0.001, 86_400.0, "time to resolve a name and connect, unless given with the dial"
    )
    connect_attempt_delay: float = _seconds(
        0.25, 0.01, 60.0, "time until the next address of a name is tried in parallel (RFC 8305)"
    )
    connect_addresses: int = _whole(
        4096, 1, 65_536, "addresses", "most addresses of a name that are tried"
    )
    resolver_threads: int = _whole(8, 1, 1024, "threads", "most threads that resolve names")
    first_byte_timeout: float = _seconds(
        0.0,
        0.0,
        86_400.0,
        "time for the first byte from the peer to arrive; suspended while reading is paused; "
        "0: no limit",
    )
    read_timeout: float = _seconds(
        0.0,
        0.0,
        86_400.0,
        "time in which no byte arrives; suspended while reading is paused, and once the peer has "
        "ended its side; 0: no limit",
    )
    write_timeout: float = _seconds(
        0.0,
        0.0,
        86_400.0,
        "time in which bytes wait and none is sent; not suspended while reading is paused; "
        "0: no limit",
    )
    idle_timeout: float = _seconds(
        0.0,
        0.0,
        86_400.0,
        "time in which nothing arrives and nothing is sent; suspended while reading is paused; "
        "0: no limit",
    )
    close_timeout: float = _seconds(
        30.0, 0.0, 86_400.0, "time to send the remaining bytes when closing"
    )
    linger_timeout: float = _seconds(
        2.0, 0.0, 3_600.0, "time to wait for the peer's end after everything is sent"
    )
    stop_timeout: float = _seconds(
        10.0, 0.0, 86_400.0, "time for connections to end when the engine stops"
    )
    tcp_nodelay: bool = _switch(True, "send at once (TCP_NODELAY), without Nagle's algorithm")
    tcp_keepalive: int = _whole(
        0, 0, 32_767, "s", "idle time before keep-alive probes (SO_KEEPALIVE); 0: none"
    )
    tcp_keepalive_interval: int = _whole(10, 1, 32_767, "s", "time between two probes")
    tcp_keepalive_count: int = _whole(
        5, 1, 127, "probes", "unanswered probes before the connection ends"
    )
    linger: int = _whole(
        -1, -1, 65_535, "s", "SO_LINGER; -1: not set, 0: reset on close; closing never blocks"
    )
    socket_receive_buffer: int = _whole(
        0, 0, 1 << 30, "bytes", "the kernel's receive buffer (SO_RCVBUF); 0: the system's default"
    )
    socket_send_buffer: int = _whole(
        0, 0, 1 << 30, "bytes", "the kernel's send buffer (SO_SNDBUF); 0: the system's default"
    )
    bind_to_device: str = _object(
        "", _is_device, "its name as text", "use only this interface (SO_BINDTODEVICE)"
    )
    broadcast: bool = _switch(False, "allow datagrams to broadcast addresses (SO_BROADCAST)")
    multicast_interface: str | int = _object(
        "", _is_interface, "its name or index", "the interface for multicast groups"
    )
    logger: logging.Logger | None = _object(
        None, _is_logger, "`logging.Logger`", "the logger to use instead of `ringnet`"
    )
    log_level: str = _choice("", LEVELS, "lowest level that is logged; none: the logger's own")
    log_file: str = _object("", _is_path, "a path as text", "a file to write the log to as well")

    @property
    def has_time_limits(self) -> bool:
        """Whether every connection has a time limit from the start."""
        return bool(
            self.first_byte_timeout or self.read_timeout or self.write_timeout or self.idle_timeout
        )

    def bounds(self) -> Bounds:
        """What a reactor's backend may use. Listeners and other handles need slots as well."""
        return Bounds(
            slots=self.max_connections + 1024,
            events=self.events_per_turn,
            receive_buffers=self.receive_buffers,
            receive_buffer_size=self.receive_buffer_size,
            stage_bytes=self.stage_bytes,
            packet_buffers=self.datagram_buffers,
            packet_size=self.max_datagram,
            # However small it is, half of max_outbound is left for receivers that do read.
            line_bytes=min(_LINE_BYTES, self.max_outbound // 2),
            edge_chunk=self.edge_triggered_chunk if self.edge_triggered else 0,
        )


def make_options(given: dict[str, Any]) -> Options:
    """Check options and create them.

    Raises OptionError with the name, range and unit, or the nearest known name.
    """
    known = {f.name: f for f in fields(Options)}
    for name, value in given.items():
        if name not in known:
            raise OptionError(_unknown(name, list(known)))
        given[name] = _check(name, value, known[name].default, known[name].metadata)
    if given.get("multicore") and "reactors" not in given:
        given["reactors"] = usable_cpus()
    if "edge_triggered_chunk" in given:  # as in gnet, it implies the other
        given.setdefault("edge_triggered", True)
    if "high_water" in given and "low_water" not in given:
        given["low_water"] = min(256 * KIB, given["high_water"] // 4)
    options = Options(**given)
    if options.low_water > options.high_water:
        raise OptionError(
            f"option 'low_water' must be at most high_water={options.high_water} bytes, "
            f"not {options.low_water}"
        )
    return options


def usable_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:_COMPARED], known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else f"; the options are {', '.join(known)}"
    return f"there is no option {shown(name)}{hint}"


def _check(name: str, value: Any, default: Any, rules: Any) -> Any:
    if "choices" in rules:
        return check_choice(f"option {name!r}", value, rules["choices"])
    if "test" in rules:
        if not rules["test"](value):
            may_be = rules["may_be"].replace("`", "")
            raise OptionError(f"option {name!r} must be {may_be}, not {shown(value)}")
        return value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise OptionError(f"option {name!r} must be True or False, not {shown(value)}")
        return value
    return _check_number(name, value, type(default), rules["range"], rules["unit"])


def check_choice(what: str, value: Any, choices: tuple[str, ...]) -> str:
    """Raise OptionError unless the value is one of the choices, naming the nearest."""
    if isinstance(value, str) and value in choices:
        return value
    asked = shown(value, _COMPARED).strip("'").lower()
    near = difflib.get_close_matches(asked, choices, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise OptionError(
        f"{what} must be one of {', '.join(filter(None, choices))}, not {shown(value)}{hint}"
    )


def _check_number(
    name: str, value: Any, kind: type, allowed: tuple[float, float], unit: str
) -> int | float:
    low, high = allowed
    accepted = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, accepted):
        word = "a whole number" if kind is int else "a number"
        raise OptionError(f"option {name!r} must be {word} of {unit}, not {shown(value)}")
    if not low <= value <= high:
        raise OptionError(
            f"option {name!r} must be from {low} to {high} {unit}, not {shown(value)}"
        )
    return value if kind is int else float(value)
