"""The peers that are compared: their roles and variants, how each is started, and its version.

A peer that is missing raises CannotBuild with a line that says how to install it. Of a peer with
several variants (gnet with one or two threads for Go) the better one counts.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import pypy
from .programs import PERF, CannotBuild, build, build_gnet

SCRIPTS = PERF / "peers"
EXAMPLES = PERF.parent / "examples"
SELECT_CONNECTIONS = 990  # select(2) knows descriptors below 1024


@dataclass(frozen=True)
class Launch:
    """How to start a server. Without `port` it prints one."""

    command: list[str]
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """What a server is to do once it is started."""

    role: str
    folder: Path  # its own, for files
    variant: str = ""
    target: int = 0  # the port that a proxy passes on to


Start = Callable[[Ask], Launch]


@dataclass(frozen=True)
class Peer:
    """One server that is compared, in one or more roles."""

    name: str
    start: Start
    roles: frozenset[str]
    version: Callable[[], str]
    variants: tuple[str, ...] = ("",)
    most_connections: int = 1_000_000
    plain_roles: frozenset[str] = frozenset()  # roles without variants

    def variants_of(self, role: str) -> tuple[str, ...]:
        """The variants to try in a role."""
        return ("",) if role in self.plain_roles else self.variants

    @property
    def is_ours(self) -> bool:
        """Whether it is ringnet."""
        return self.name.startswith("ringnet")


def _native(ask: Ask, programs: Mapping[str, str]) -> Launch:
    program = programs.get(ask.role, programs["echo"])
    more = () if ask.role == "udp" else (ask.role, *BUFFERS.get(ask.variant, ()))
    return Launch([str(build(program)), *more])


def _asyncio(kind: str) -> Start:
    def start(ask: Ask) -> Launch:
        if kind == "uvloop":
            _need("uvloop")
        for package in {"http": ["httptools"], "redis": ["hiredis"]}.get(ask.role, []):
            _need(package)
        target = [str(ask.target)] if ask.target else []
        script = str(SCRIPTS / "asyncio_server.py")
        return Launch([sys.executable, script, kind, ask.role, *target])

    return start


def _need(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise CannotBuild(f"{package} is not installed: pip install '.[perf]'")


def _ringnet(backend: str, python: Callable[[], str], *more: str) -> Start:
    def start(ask: Ask) -> Launch:
        interpreter = python()
        if ask.role in ("http", "redis"):
            example = [str(EXAMPLES / f"{ask.role}_server.py"), "tcp://127.0.0.1:0"]
        elif ask.role == "proxy":
            target = f"tcp://127.0.0.1:{ask.target}"
            example = [str(EXAMPLES / "tcp_proxy.py"), "tcp://127.0.0.1:0", "--target", target]
        else:
            role = "echo" if ask.role == "scaling" else ask.role
            return Launch([interpreter, str(SCRIPTS / "ringnet_server.py"), role, backend, *more])
        return Launch([interpreter, *example, "--backend", backend])

    return start


def _gnet(loops: str) -> Start:
    def start(ask: Ask) -> Launch:
        role = "echo" if ask.role == "scaling" else ask.role
        environment = {
            "GOMAXPROCS": ask.variant.partition("=")[2] or loops,
            "GNET_LOGGING_LEVEL": "2",  # errors only: the log goes where the port does
        }
        return Launch([str(build_gnet()), role, loops], environment=environment)

    return start


def free_port() -> int:
    """A TCP port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def tool(name: str, remedy: str) -> str:
    """The path of a program. Raises CannotBuild with the remedy where it is missing."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        raise CannotBuild(f"there is no {name}: {remedy}")
    return found


def _redis_server(ask: Ask) -> Launch:
    program, port = tool("redis-server", "apt install redis-server"), free_port()
    options = {
        "--port": str(port),
        "--bind": "127.0.0.1",
        "--save": "",
        "--appendonly": "no",
        "--dir": str(ask.folder),
        "--loglevel": "warning",
    }
    return Launch([program, *(word for pair in options.items() for word in pair)], port=port)


NGINX = """daemon off; master_process off; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; default_type text/plain;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=4096; location = / {{
    return 200 "Hello from ringnet!\\n"; }} }}
}}
"""


def _nginx(ask: Ask) -> Launch:
    program, port = tool("nginx", "apt install nginx-light"), free_port()
    config = ask.folder / "nginx.conf"
    config.write_text(NGINX.format(folder=ask.folder, port=port))
    return Launch([program, "-c", str(config), "-p", str(ask.folder), "-e", "stderr"], port=port)


def _package(name: str) -> Callable[[], str]:
    return lambda: f"{name} {importlib.metadata.version(name)}, {_python()}"


def _python() -> str:
    return f"{sys.implementation.name} {sys.version.split()[0]}"


def _ours() -> str:
    return _package("ringnet")()


def _said(name: str, *arguments: str) -> Callable[[], str]:
    def ask() -> str:
        command = [tool(name, "it is not there"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        found = re.search(r"v?=?/?(\d+\.\d+\.\d+)", done.stdout + done.stderr)
        return f"{name} {found[1]}" if found else name

    return ask


def _gnet_version() -> str:
    text = (PERF / "gnet" / "go.mod").read_text()
    found = re.search(r"gnet/v2 (\S+)", text)
    go = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True, timeout=10)
    return f"gnet {found[1] if found else '?'}, {go.stdout.strip()}"


STREAM_ROLES = frozenset({"echo", "sink", "source"})
PROTOCOL_ROLES = STREAM_ROLES | {"broadcast", "udp", "proxy", "redis", "http"}
OUR_ROLES = PROTOCOL_ROLES | {"scaling"}
GNET_ROLES = STREAM_ROLES | {"broadcast", "udp", "http"}
SCALING = frozenset({"scaling"})
URING = {"echo": "limit_uring", "udp": "limit_uring_udp"}
EPOLL = {"echo": "limit_epoll", "udp": "limit_mmsg"}
# Receive buffers of the bare server: many small ones, or few that stay in the CPU's cache.
BUFFERS = {"1024 x 16 KiB": ("1024", "16384"), "16 x 64 KiB": ("16", "65536")}
GO_THREADS = ("GOMAXPROCS=1", "GOMAXPROCS=2")


def _this() -> str:
    return sys.executable


_ALL = (
    Peer("limit-uring", functools.partial(_native, programs=URING), STREAM_ROLES | {"udp"},
         lambda: "C over liburing", tuple(BUFFERS), plain_roles=frozenset({"udp"})),
    Peer("limit-epoll", functools.partial(_native, programs=EPOLL), STREAM_ROLES | {"udp"},
         lambda: "C over epoll"),
    Peer("ringnet-io_uring", _ringnet("io_uring", _this), OUR_ROLES, _ours),
    Peer("ringnet-epoll", _ringnet("epoll", _this), OUR_ROLES, _ours),
    Peer("ringnet-select", _ringnet("select", _this), PROTOCOL_ROLES, _ours,
         most_connections=SELECT_CONNECTIONS),
    Peer("ringnet-pypy", _ringnet("io_uring", pypy.interpreter), PROTOCOL_ROLES, pypy.version),
    Peer("asyncio", _asyncio("asyncio"), PROTOCOL_ROLES - {"http"}, _python),
    Peer("asyncio-streams", _asyncio("streams"), STREAM_ROLES, _python),
    Peer("uvloop", _asyncio("uvloop"), PROTOCOL_ROLES, _package("uvloop")),
    Peer("gnet", _gnet("1"), GNET_ROLES, _gnet_version, GO_THREADS),
    Peer("redis-server", _redis_server, frozenset({"redis"}), _said("redis-server", "--version")),
    Peer("nginx", _nginx, frozenset({"http"}), _said("nginx", "-v")),
    Peer("ringnet-2-reactors", _ringnet("io_uring", _this, "2"), SCALING, _ours),
    Peer("ringnet-2-processes", _ringnet("io_uring", _this, "1", "2"), SCALING, _ours),
    Peer("gnet-1-loop", _gnet("1"), SCALING, _gnet_version),
    Peer("gnet-2-loops", _gnet("2"), SCALING, _gnet_version),
)  # fmt: skip
PEERS = {peer.name: peer for peer in _ALL}
