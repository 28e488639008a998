"""What `run` does with signals that are ignored or handled already, and what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from engine_tools import IN_CHILDREN, WAIT, receive
from run_tools import BEGIN, connect, echoes, program

PLAIN = """
ringnet.run(Echo(), address, backend=backend)
print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN, flush=True)
"""


@contextmanager
def in_background(text: str, backend: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program that a shell has started with `&`, and that prints its number and its port."""
    command = ["sh", "-c", '"$0" "$@" & wait', sys.executable, "-c"]
    process = subprocess.Popen(
        [*command, "import os; print(os.getpid(), flush=True)\n" + BEGIN + text, backend],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    number = int(process.stdout.readline())
    try:
        yield process, number
    finally:
        assert Path(f"/proc/{number}").exists() or process.wait(WAIT) is not None
        process.kill()
        process.wait(WAIT)


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_program_in_the_background_ignores_interrupts(backend: str) -> None:
    with in_background(PLAIN, backend) as (shell, number):
        assert shell.stdout is not None
        port = int(shell.stdout.readline())
        for _ in range(3):
            os.kill(number, signal.SIGINT)
            with connect(port) as client:
                assert echoes(client, b"still there")
        os.kill(number, signal.SIGTERM)
        assert shell.communicate(timeout=WAIT)[0] == "True\n"


IGNORES = """
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
class Ends(Echo):
    def on_traffic(self, conn):
        if conn.peek() == b"end":
            return ringnet.Action.SHUTDOWN
        conn.write(conn.next())
ringnet.run(Ends(), address, backend=backend)
print(signal.getsignal(signal.SIGINT).name, signal.getsignal(signal.SIGTERM).name, flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_what_the_program_ignores_stays_ignored(backend: str) -> None:
    with program(IGNORES, backend) as (process, port), connect(port) as client:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            assert echoes(client, b"still there")
        client.sendall(b"end")
        assert process.communicate(timeout=WAIT) == ("SIG_IGN SIG_IGN\n", "")


OWN = """
def own(number, frame):
    print("own", signal.Signals(number).name, flush=True)
signal.signal(signal.SIGTERM, own)
ringnet.run(Echo(), address, backend=backend)
print(signal.getsignal(signal.SIGTERM) is own,
      signal.getsignal(signal.SIGINT) is signal.default_int_handler, flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_own_handler_is_called_and_then_the_engine_stops(backend: str, number: int) -> None:
    with program(OWN, backend) as (process, port), connect(port) as client:
        assert echoes(client, b"x")
        process.send_signal(number)
        assert receive(client, 1) == b""
        expected = "own SIGTERM\n" if number == signal.SIGTERM else ""
        assert process.communicate(timeout=WAIT) == (expected + "True True\n", "")


EXITS = """
def own(number, frame):
    sys.exit(7)
signal.signal(signal.SIGTERM, own)
class Drains(Echo):
    def on_drain(self, conn):
        return conn.write(b"drained") or ringnet.Action.CLOSE
    def on_shutdown(self, engine):
        print("shutdown", flush=True)
ringnet.run(Drains(), address, backend=backend)
print("never", flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_what_an_own_handler_raises_comes_when_the_engine_has_ended(backend: str) -> None:
    with program(EXITS, backend) as (process, port), connect(port) as client:
        assert echoes(client, b"x")
        process.send_signal(signal.SIGTERM)
        assert receive(client, 100) == b"drained"
        client.close()
        assert process.communicate(timeout=WAIT) == ("shutdown\n", "")
        assert process.returncode == 7


FOREIGN = """
# What getsignal says of a handler that was set outside of Python, as by a program that embeds it.
real, changed = signal.getsignal, []
signal.getsignal = lambda number: None if number == signal.SIGINT else real(number)
def change(number, action, real=signal.signal):
    changed.append(number)
    return real(number, action)
signal.signal = change
ringnet.run(Echo(), address, backend=backend)
print(signal.SIGINT in changed, signal.SIGTERM in changed, flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_handler_outside_of_python_is_left_alone(backend: str) -> None:
    with program(FOREIGN, backend) as (process, port), connect(port) as client:
        assert echoes(client, b"x")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=WAIT) == ("False True\n", "")


CHANGES = """
def mine(number, frame):
    pass
class Changes(Echo):
    def on_open(self, conn):
        signal.signal(signal.SIGINT, mine)
ringnet.run(Changes(), address, backend=backend)
print(signal.getsignal(signal.SIGINT) is mine, signal.getsignal(signal.SIGTERM).name, flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_handler_that_was_set_meanwhile_stays(backend: str) -> None:
    with program(CHANGES, backend) as (process, port), connect(port) as client:
        assert echoes(client, b"x")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=WAIT) == ("True SIG_DFL\n", "")
