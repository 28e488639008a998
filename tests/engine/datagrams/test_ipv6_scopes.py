"""IPv6 addresses with a scope, and groups, in a network namespace of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from engine_tools import BACKENDS
from namespace_tools import APART
from places import TOOLS

PREPARE = """
ip link set lo up
ip link add v0 type veth peer name v1
ip link set v1 up
ip link set v0 up
ip -6 addr add fe80::77/64 dev v0 nodad
exec "$@"
"""

CHILD = """
import socket, sys, ringnet
import kqueue_shim

kqueue_shim.install()

class Echo(ringnet.EventHandler):
    def on_traffic(self, conn):
        print(conn.remote_address, flush=True)
        conn.write(conn.next())

v0 = socket.if_nametoindex("v0")
with ringnet.Engine(Echo(), "udp6://[fe80::77%v0]:0", "tcp6://[fe80::77%v0]:0", "udp6://[::]:0",
                    backend=sys.argv[1]) as engine:
    ports = [int(address.rpartition(":")[2]) for address in engine.addresses]
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        peer.bind(("fe80::77", 0, 0, v0))
        peer.sendto(b"scoped", ("fe80::77", ports[0], 0, v0))
        assert peer.recvfrom(10)[0] == b"scoped"
        engine.listeners[2].join_group("ff02::7777", "v0")
        peer.sendto(b"group", ("ff02::7777", ports[2], 0, v0))
        assert peer.recv(10) == b"group"
        engine.listeners[2].leave_group("ff02::7777", "v0")
        try:
            engine.listeners[2].leave_group("ff02::7777", "v0")
        except OSError as error:
            assert "IPV6_LEAVE_GROUP" in str(error)
        else:
            raise AssertionError("left twice")
    conn = engine.register(f"tcp6://[fe80::77%v0]:{ports[1]}").result(10)
    assert conn.loop is engine.reactors[0]
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces are Linux's")
@pytest.mark.parametrize("backend", BACKENDS)
def test_scopes_and_groups_of_ipv6(backend: str, tmp_path: Path) -> None:
    assert shutil.which("ip"), "install iproute2"
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    command = [*APART, "sh", "-ec", PREPARE, "sh", sys.executable, str(script), backend]
    env = {**os.environ, "PYTHONPATH": str(TOOLS)}  # for the shim
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=env)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "done"
    assert lines[0].startswith("('fe80::77%v0', ")
