"""What is measured: one line a scenario.

A scenario has the role of the servers, the options of the load generator, and the unit of its
figure. `kind` selects the function in kinds.py that takes the sample; most are "load".
"""

from __future__ import annotations

from dataclasses import dataclass

from .roster import PEERS, Peer

BLOCK = 256 * 1024
GET = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
REDIS_SET = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$3\r\nxxx\r\n"
REDIS_GET = "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n"
PER_SECOND = {"kmsg/s": 1e3, "kconn/s": 1e3, "GB/s": 1e9}  # of messages or bytes


@dataclass(frozen=True)
class Scenario:
    """One comparison of the peers."""

    name: str
    role: str
    load: tuple[str, ...]
    unit: str = "kmsg/s"
    kind: str = "load"
    connections: int = 50
    quick: bool = False
    request: str = ""  # every message, instead of an echo's pattern
    reply: str = ""  # empty: whatever the server answers first
    first: str = ""  # sent once before, such as the SET of what is then asked for
    target: str = "echo"  # the role of the server behind a proxy
    about: str = ""

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher figure is the better one."""
        return self.unit in PER_SECOND

    @property
    def cpu_unit(self) -> str:
        """What the server's CPU microseconds are divided by."""
        return {"GB/s": "MB", "kconn/s": "conn"}.get(self.unit, "msg")

    def peers(self) -> list[Peer]:
        """The peers that have the role and can have enough connections."""
        return [
            peer
            for peer in PEERS.values()
            if self.role in peer.roles and self.connections <= peer.most_connections
        ]


def _echo(size: str, bytes_: int, connections: int = 50, quick: bool = False) -> Scenario:
    return Scenario(
        f"echo-{size}",
        "echo",
        ("--size", str(bytes_)),
        connections=connections,
        quick=quick,
        about=f"{bytes_:,} bytes and back, {connections} connections",
    )


def _many(connections: int) -> Scenario:
    return Scenario(
        f"connections-{connections}",
        "echo",
        (),
        connections=connections,
        about=f"64 bytes and back, {connections:,} connections",
    )


def _fixed(
    name: str, role: str, request: str, reply: str = "", first: str = "", quick: bool = False
) -> list[Scenario]:
    """Two scenarios: one request at a time, and 16 at once."""
    return [
        Scenario(f"{name}{suffix}", role, ("--pipeline", pipeline), request=request, reply=reply,
                 first=first, quick=quick, about=f"{about}, 50 connections")
        for suffix, pipeline, about in (
            ("", "1", "one request at a time"),
            ("-p16", "16", "16 requests at a time"),
        )
    ]  # fmt: skip


_ALL = (
    _echo("64", 64, quick=True),
    _echo("1k", 1024, quick=True),
    _echo("16k", 16 * 1024),
    _echo("64k", 64 * 1024, quick=True),
    _echo("1m", 1024 * 1024, connections=10),
    Scenario("pipelined", "echo", ("--pipeline", "16"), quick=True,
             about="16 messages of 64 bytes at a time, 50 connections"),
    _many(1), _many(500), _many(5000),
    Scenario("idle-10000", "echo", ("--active", "50"), connections=10_000,
             about="64 bytes and back, 50 of 10,000 connections active"),
    Scenario("sink", "sink", ("--mode", "sink", "--size", "65536"), "GB/s", connections=4,
             quick=True, about="bytes that the server drops, 4 connections"),
    Scenario("source", "source", ("--mode", "source", "--reply-size", str(BLOCK)), "GB/s",
             connections=4, quick=True,
             about="blocks of 256 KiB that the server sends, 4 ahead on each of 4 connections"),
    Scenario("udp-64", "udp", ("--udp",), quick=True, about="datagrams of 64 bytes, 50 senders"),
    Scenario("udp-1400", "udp", ("--udp", "--size", "1400"),
             about="datagrams of 1,400 bytes, 50 senders"),
    Scenario("churn", "echo", ("--mode", "churn"), "kconn/s", quick=True,
             about="connect, 64 bytes and back, close; 50 at a time"),
    Scenario("broadcast", "broadcast", ("--mode", "broadcast"), connections=1000,
             about="64 bytes to each of 1,000 connections; counted where they arrive"),
    *_fixed("http", "http", GET, quick=True),
    Scenario("http-wrk", "http", (), kind="wrk", about="the same by wrk: a second opinion"),
    *_fixed("redis-get", "redis", REDIS_GET, "$3\r\nxxx\r\n", REDIS_SET, quick=True),
    *_fixed("redis-set", "redis", REDIS_SET, "+OK\r\n"),
    Scenario("redis-get-benchmark", "redis", ("-t", "get", "-P", "1"), kind="redis-benchmark",
             first=REDIS_SET, about="GET by redis-benchmark: a second opinion"),
    Scenario("redis-get-p16-benchmark", "redis", ("-t", "get", "-P", "16"),
             kind="redis-benchmark", first=REDIS_SET, about="16 GETs by redis-benchmark"),
    Scenario("proxy", "proxy", ("--size", "1024"),
             about="1 KiB through a proxy to limit-epoll, which shares the load's CPU"),
    Scenario("proxy-1m", "proxy", ("--size", str(1024 * 1024)), connections=10,
             about="1 MiB and back through that proxy, 10 connections"),
    Scenario("proxy-bulk", "proxy", ("--mode", "sink", "--size", "65536"), "GB/s", connections=1,
             quick=True, target="sink",
             about="bytes through a proxy to limit-epoll, which drops them; it shares the load's "
             "CPU, and the proxy has to wait for it"),
    Scenario("scaling", "scaling", (), about="64 bytes; servers on all CPUs but the load's"),
    Scenario("open-loop", "echo", (), "us", kind="open",
             about="p99.9 of 64 bytes, 50 connections, at half of what the slowest can do"),
    Scenario("idle-memory", "echo", (), "bytes", kind="memory", connections=10_000, quick=True,
             about="private memory of an idle connection that has echoed a byte"),
    Scenario("start-up", "echo", (), "ms", kind="start", connections=1, quick=True,
             about="from the start of the process to its first echo"),
)  # fmt: skip
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
