"""A dial that a firewall or the next hop refuses by ICMP is no connection, on any backend.

The firewall is nftables in a network namespace of the test's own.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys

import pytest
from contract_tools import PATIENCE
from engine_tools import IN_CHILDREN
from namespace_tools import APART

REFUSALS = {
    "admin-prohibited": errno.EHOSTUNREACH,
    "host-unreachable": errno.EHOSTUNREACH,
    "net-unreachable": errno.ENETUNREACH,
    "port-unreachable": errno.ECONNREFUSED,
    "prot-unreachable": errno.ENOPROTOOPT,
}
CHILD = """
import json, socket, subprocess, sys
import ringnet
backend = sys.argv[1]
run = lambda *command: subprocess.run(command, check=True)
run("ip", "link", "set", "lo", "up")
run("nft", "add table ip t; add chain ip t out { type filter hook output priority 0; }")
listener = socket.create_server(("127.0.0.1", 0))
refused = {}
for number, kind in enumerate(sys.argv[2:]):
    run("nft", f"add rule ip t out tcp dport {7001 + number} reject with icmp {kind}")

class Handler(ringnet.EventHandler):
    opened = 0
    def on_open(self, conn):
        Handler.opened += 1

found = {}
with ringnet.Client(Handler(), backend=backend) as client:
    for number, kind in enumerate(sys.argv[2:]):
        errors = set()
        address = f"tcp://127.0.0.1:{7001 + number}"
        for dial in [client.register(address, timeout=10) for _ in range(10)]:
            error = dial.exception(30)
            errors.add(getattr(error, "errno", None) or repr(error))
        found[kind] = sorted(errors, key=str)
    opened = Handler.opened
    client.dial(f"tcp://127.0.0.1:{listener.getsockname()[1]}", timeout=10)
print(json.dumps([opened, Handler.opened, found]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_refused_by_icmp(backend: str) -> None:
    command = [*APART, sys.executable, "-c", CHILD, backend, *REFUSALS]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60 * PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    opened, opened_at_last, found = json.loads(done.stdout)
    assert found == {kind: [number] for kind, number in REFUSALS.items()}
    assert (opened, opened_at_last) == (0, 1)
