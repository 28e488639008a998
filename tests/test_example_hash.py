"""The hash server example as a program, with peers that ask for hashes.

Uploads of many at once are in `test_example_network.py`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from threading import Thread

import pytest
from engine_tools import IN_CHILDREN, WAIT, receive
from real_clients import example

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)
SIZES = (0, 1, 63, 64, 65, 4096, 100_000, 5_000_000)


def answer_to(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode() + b"\n"


def ask(port: int, data: bytes, answers: list[bytes]) -> None:
    """A client of its own, for one upload."""
    with socket.create_connection(("127.0.0.1", port), WAIT) as client:
        client.sendall(b"%d\n" % len(data) + data)
        answers.append(receive(client, 65))


@EACH
def test_uploads_of_several_clients_at_once(backend: str) -> None:
    uploads = [os.urandom(size) for size in SIZES]
    answers: list[bytes] = []
    with example("hash_server", backend, "--reactors", "2") as port:
        people = [Thread(target=ask, args=(port, data, answers)) for data in uploads]
        for person in people:
            person.start()
        for person in people:
            person.join(WAIT)
    assert sorted(answers) == sorted(answer_to(data) for data in uploads)


@EACH
def test_answers_come_in_the_order_of_the_uploads(backend: str) -> None:
    uploads = [os.urandom(size) for size in (300_000, 0, 7, 200_000, 1)]
    with example("hash_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            client.sendall(b"".join(b"%d\n" % len(data) + data for data in uploads))
            expected = b"".join(answer_to(data) for data in uploads)
            assert receive(client, len(expected)) == expected


@EACH
def test_an_upload_byte_by_byte(backend: str) -> None:
    with example("hash_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in b"5\nhello":
                client.sendall(bytes([byte]))
            assert receive(client, 65) == answer_to(b"hello")


@EACH
def test_more_uploads_at_once_than_workers(backend: str) -> None:
    data = os.urandom(2_000_000)
    answers: list[bytes] = []
    with example("hash_server", backend) as port:
        people = [Thread(target=ask, args=(port, data, answers)) for _ in range(24)]
        for person in people:
            person.start()
        for person in people:
            person.join(WAIT)
    assert answers == [answer_to(data)] * 24


@EACH
@pytest.mark.parametrize("head", [b"x\n", b"-1\n", b"33554433\n", b"\n"])
def test_a_wrong_length_is_answered_and_ends_it(backend: str, head: bytes) -> None:
    with example("hash_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            client.sendall(head)
            said = receive(client, 1000)
            assert said == b"a length of at most 33554432 bytes was expected\n"


@EACH
def test_who_leaves_before_the_answer_troubles_nobody(backend: str) -> None:
    # The example's standard error must be empty in the end: `example` sees to it.
    data = os.urandom(1_000_000)
    with example("hash_server", backend) as port:
        for _ in range(8):
            with socket.create_connection(("127.0.0.1", port), WAIT) as client:
                client.sendall(b"%d\n" % len(data) + data)
                client.shutdown(socket.SHUT_WR)
                receive(client, 65)
        answers: list[bytes] = []
        ask(port, data, answers)
        assert answers == [answer_to(data)]


@EACH
def test_the_command_of_its_docstring(backend: str, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_bytes(os.urandom(5_000_000))
    assert shutil.which("socat"), "socat is missing: apt-get install socat"
    with example("hash_server", backend) as port:
        command = f"(stat -c %s {file}; cat {file} -) | socat - TCP:127.0.0.1:{port}"
        with subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as peer:
            try:
                assert peer.stdin is not None
                assert peer.stdout is not None
                assert peer.stdout.readline() == answer_to(file.read_bytes())
                peer.stdin.close()  # as Ctrl-D at a terminal
                assert peer.wait(WAIT) == 0
            finally:
                peer.kill()
