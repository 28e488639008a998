"""A gigabyte through the proxy example, from a fast sender to a slow reader."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
from pathlib import Path
from time import monotonic, sleep

from places import ROOT

GIGABYTE = 1 << 30
PIECE = bytes(range(256)) * 4096  # 1 MiB
SECONDS = 50.0


def peak_of_a_gigabyte(backend: str) -> int:
    """The peak of the proxy's resident memory, in bytes, after all has arrived in order."""
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(SECONDS)
        host, port = target.getsockname()
        command = [
            sys.executable,
            "examples/tcp_proxy.py",
            "tcp://127.0.0.1:0",
            "--target",
            f"tcp://{host}:{port}",
            "--backend",
            backend,
        ]
        proxy = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        try:
            assert proxy.stdout is not None
            line = proxy.stdout.readline()
            where = line.split("tcp://")[1].split()[0].rpartition(":")
            with socket.create_connection((where[0], int(where[2])), timeout=SECONDS) as sender:
                reader, _ = target.accept()
                with reader:
                    _pass(sender, reader)
                return peak_memory(proxy.pid)
        finally:
            proxy.terminate()
            proxy.communicate(timeout=SECONDS)


def _pass(sender: socket.socket, reader: socket.socket) -> None:
    def send() -> None:
        for _ in range(GIGABYTE // len(PIECE)):
            sender.sendall(PIECE)
        sender.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    reader.settimeout(SECONDS)
    seen, count, start = hashlib.blake2b(), 0, monotonic()
    while data := reader.recv(1 << 20):
        seen.update(data)
        count += len(data)
        if count % 37 == 0:
            sleep(0.002)  # slower than the sender
        assert monotonic() < start + SECONDS
    thread.join(SECONDS)
    assert count == GIGABYTE
    expected = hashlib.blake2b()
    for _ in range(GIGABYTE // len(PIECE)):
        expected.update(PIECE)
    assert seen.digest() == expected.digest()


def peak_memory(pid: int) -> int:
    """The most that was resident, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell")
