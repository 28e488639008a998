"""Programs with a handler that does not return end all the same: by signals, and at their end."""

from __future__ import annotations

import signal
from pathlib import Path
from time import monotonic, sleep

import pytest
from engine_tools import IN_CHILDREN, WAIT, until
from ringnet.engine.base.processes import EXIT_TIMEOUT, STOP_GRACE
from ringnet.engine.server.signals import SIGNAL_GRACE
from run_tools import connect, echoes, program

SLACK = 5.0  # seconds that a busy machine may add to a bound, with the start of Python

STUCK = """
import time

def sleeps():
    time.sleep(600)
def waits():
    threading.Event().wait(600)
def reads():
    os.read(os.pipe()[0], 1)
def computes():
    while True:
        pass

class Stuck(Echo):
    def on_traffic(self, conn):
        wanted = conn.next().decode()
        print("stuck", conn.loop.number, flush=True)
        globals()[wanted]()
    def on_open(self, conn):
        return b"%d" % conn.loop.number
"""
ALONE = """
try:
    ringnet.run(Stuck(), address, backend=backend)
except KeyboardInterrupt as error:
    print("interrupted", error, flush=True)
    raise
"""


def is_asleep(pid: int) -> bool:
    """Whether the main thread of a process waits inside the kernel."""
    status = Path(f"/proc/{pid}/task/{pid}/stat").read_text(encoding="ascii")
    return status.rpartition(")")[2].split()[0] == "S"


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("how", "pause"),
    [
        ("sleeps", SIGNAL_GRACE + 0.2),
        ("sleeps", 0.0),
        ("waits", 0.0),
        ("reads", 0.0),
        ("computes", 0),
    ],
)
def test_a_second_signal_interrupts_a_handler(
    backend: str, number: int, how: str, pause: float
) -> None:
    with program(STUCK + ALONE, backend) as (process, port), connect(port) as client:
        client.sendall(how.encode())
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck 0\n"
        # A signal just before CPython sleeps on a lock is seen when something else wakes it.
        until(lambda: how == "computes" or is_asleep(process.pid))
        process.send_signal(number)
        sleep(pause + 0.05)  # two signals at once are one
        began = monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=WAIT)
        assert monotonic() - began < SIGNAL_GRACE + SLACK
    assert out.startswith("interrupted")
    assert process.returncode == -signal.SIGINT, err
    assert "KeyboardInterrupt" in err


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_one_signal_does_not_interrupt(backend: str) -> None:
    text = STUCK.replace("time.sleep(600)", "time.sleep(1.5); print('slept', flush=True)") + ALONE
    with program(text, backend) as (process, port), connect(port) as client:
        client.sendall(b"sleeps")
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck 0\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=WAIT) == ("slept\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_two_signals_in_a_row_end_a_healthy_program_in_order(backend: str) -> None:
    drains = """
class Drains(Echo):
    def on_drain(self, conn):
        pass
ringnet.run(Drains(), address, backend=backend)
print("over", flush=True)
"""
    with program(drains, backend) as (process, port), connect(port) as client:
        assert echoes(client, b"x")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=WAIT) == ("over\n", "")
    assert process.returncode == 0


OTHERS = """
ringnet.run(Stuck(), address, backend=backend, reactors=2, stop_timeout=float(sys.argv[2]))
print("over", threading.active_count(), flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("signals", [1, 2])
def test_another_reactor_that_is_stuck_is_left_behind(backend: str, signals: int) -> None:
    """One signal: after `stop_timeout`. Two: at once."""
    timeout = 0.2 if signals == 1 else 600.0
    with program(STUCK + OTHERS, backend, str(timeout)) as (process, port):
        clients = [connect(port) for _ in range(2)]
        other = next(client for client in clients if client.recv(1) == b"1")
        other.sendall(b"sleeps")
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck 1\n"
        began = monotonic()
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            sleep(0.1)
        out, err = process.communicate(timeout=WAIT)
        assert monotonic() - began < 0.2 + 2 * STOP_GRACE + EXIT_TIMEOUT + SLACK
        for client in clients:
            client.close()
    assert (out, process.returncode) == ("over 2\n", 0)
    assert "have not returned and are abandoned" in err
    assert "EventLoop 1" in err
    assert "Traceback" not in err


ENDS = """
engine = ringnet.Engine(Stuck(), address, backend=backend).start()
while not engine.count_connections():
    time.sleep(0.01)
time.sleep(float(sys.argv[2]))
print("end", flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("how", ["sleeps", "computes"])
def test_the_end_of_a_program_is_not_held_up(backend: str, how: str) -> None:
    with program(STUCK + ENDS, backend, "0.5") as (process, port), connect(port) as client:
        client.sendall(how.encode())
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck 0\n"
        assert process.stdout.readline() == "end\n"
        began = monotonic()
        _, err = process.communicate(timeout=WAIT)
        assert monotonic() - began < EXIT_TIMEOUT + STOP_GRACE + SLACK
    assert (process.returncode, err) == (0, "")


NO_THREADS = """
import _thread

def refuse(*_):
    raise RuntimeError("can't start new thread")

class Exhausted(Stuck):
    def on_traffic(self, conn):
        _thread.start_new_thread = refuse
        super().on_traffic(conn)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_where_there_is_no_thread_a_later_signal_interrupts(backend: str) -> None:
    source = STUCK + NO_THREADS + ALONE.replace("Stuck()", "Exhausted()")
    with program(source, backend) as (process, port), connect(port) as client:
        client.sendall(b"sleeps")
        assert process.stdout is not None
        assert process.stdout.readline() == "stuck 0\n"
        for pause in (0.05, SIGNAL_GRACE + 0.1, 0):  # two signals at once are one
            process.send_signal(signal.SIGINT)
            sleep(pause)
        out, err = process.communicate(timeout=WAIT)
    assert "interrupted" in out
    assert "can't start" not in out + err
