"""The chat and echo examples, with sockets as people."""

from __future__ import annotations

import os
import socket

import pytest
from engine_tools import IN_CHILDREN, WAIT, receive, send_all_aside
from real_clients import example

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)


@EACH
def test_lines_go_to_everybody_else(backend: str) -> None:
    with example("chat", backend, "--reactors", "2") as port:
        people = []
        for _ in range(3):
            person = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
            people.append((person, person.makefile("rb")))
            assert people[-1][1].readline().startswith(b"* welcome")
            for _, lines in people[:-1]:
                assert lines.readline().endswith(b"is here\n")
        people[0][0].sendall(b"hel")
        people[0][0].sendall(b"lo\nagain\n")
        name = b"%b:%d" % (b"127.0.0.1", people[0][0].getsockname()[1])
        for _, lines in people[1:]:
            assert lines.readline() == name + b": hello\n"
            assert lines.readline() == name + b": again\n"
        people[1][0].sendall(b"x" * 10_000)
        assert people[1][1].readline() == b"* that line is too long\n"
        assert people[1][1].read() == b""
        people[1][0].close()  # else the server waits a while for its end
        people[1][1].close()
        assert people[2][1].readline().endswith(b"has left\n")
        for person, lines in people:
            lines.close()
            person.close()


@EACH
def test_the_echo_example(backend: str) -> None:
    data = os.urandom(3_000_000)
    with example("echo", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            sender = send_all_aside(client, data)
            assert receive(client, len(data)) == data
            sender.join()
