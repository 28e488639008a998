"""`ringnet.run` on the main thread: its signals, those of the program, and its forks."""

from __future__ import annotations

import signal
import sys
from functools import partial
from time import monotonic, sleep
from types import FrameType

import pytest
import ringnet
from engine_tools import BACKENDS, IN_CHILDREN, WAIT, Recorder, on_loop, receive, served, until
from run_tools import connect, echoes, program

ALONE = """
class Alone(Echo):
    def on_open(self, conn):
        assert threading.current_thread() is threading.main_thread()
        print(threading.active_count(), flush=True)

ringnet.run(Alone(), address, backend=backend)
print(threading.active_count(), current_loop(), signal.getsignal(signal.SIGTERM).name,
      signal.set_wakeup_fd(-1), flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_one_reactor_needs_one_thread(backend: str) -> None:
    with program(ALONE, backend) as (process, port), connect(port) as client:
        assert echoes(client, b"hello")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=WAIT)
    assert (out.split(), err) == (["1", "1", "None", "SIG_DFL", "-1"], "")


DRAINS = """
class Drains(Echo):
    def on_open(self, conn):
        return b"%d" % conn.loop.number
    def on_drain(self, conn):
        pass  # it goes on
    def on_shutdown(self, engine):
        print("shutdown", threading.current_thread() is threading.main_thread(), flush=True)

ringnet.run(Drains(), address, backend=backend, reactors=3, stop_timeout=60)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("stays", ["0", "1", "2"])
def test_a_second_signal_ends_whichever_reactor_still_drains(backend: str, stays: str) -> None:
    with program(DRAINS, backend) as (process, port):
        clients = [connect(port) for _ in range(3)]
        by_reactor = {receive(client, 1).decode(): client for client in clients}
        process.send_signal(signal.SIGTERM)
        for number, client in by_reactor.items():
            if number != stays:
                assert echoes(client, b"on"), "a connection of a draining engine is served"
                client.close()
        with by_reactor[stays] as client:
            assert echoes(client, b"and on")
            process.send_signal(signal.SIGTERM)
            began = monotonic()
            assert receive(client, 1) == b""
            out, err = process.communicate(timeout=WAIT)
            assert monotonic() - began < WAIT / 2, "stop_timeout is far longer"
    assert (out, err, process.returncode) == ("shutdown True\n", "", 0)


# A handler of a signal interrupts the loop at thousands of places, and posts from each of them; so
# does another thread. Every call must be made, and in order.
STORM = """
from collections import Counter
WANTED = 3000
posted, made = Counter(), Counter()

class Storm(Echo):
    conn = None
    is_striking = False
    def on_open(self, conn):
        self.conn = conn
        threading.Thread(target=self.post_from_aside, daemon=True).start()
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    def post_from_aside(self):
        for _ in range(WANTED):
            self.post("aside")
    def post(self, name):
        number = posted[name] = posted[name] + 1
        self.conn.loop.execute(lambda: self.make(name, number))
    def make(self, name, number):
        assert number == made[name] + 1, (name, number, made[name])
        made[name] = number
        if name == "signal" and number == WANTED:
            signal.setitimer(signal.ITIMER_REAL, 0)
    def strike(self, number, frame):
        if self.conn is None or self.is_striking or posted["signal"] == WANTED:
            return
        self.is_striking = True
        self.post("signal")
        self.conn.async_write(b"!")
        self.is_striking = False

storm = Storm()
signal.signal(signal.SIGALRM, storm.strike)
ringnet.run(storm, address, backend=backend)
print(posted == made, made["signal"], made["aside"], flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_handler_of_a_signal_posts_and_nothing_is_lost(backend: str) -> None:
    with program(STORM, backend) as (process, port), connect(port) as client:
        strikes = 0
        echoed = sent = 0
        while strikes < 3000 or echoed < sent:
            if strikes < 3000:
                client.sendall(b"x" * 10)
                sent += 10
            data = client.recv(65536)
            assert data, process.communicate(timeout=WAIT)[1]
            strikes += data.count(b"!")
            echoed += data.count(b"x")
        assert (strikes, echoed) == (3000, sent)
        assert echoes(client, b"still there")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT)
    assert (out, err) == ("True 3000 3000\n", "")


# Functions with a part in posting.
STEPS = {"execute", "post", "_queue", "wake_up", "wake", "_on_woken"}


class Interruption:
    """Posts at the n-th line of those functions, as a handler of a signal would."""

    def __init__(self, loop: ringnet.EventLoop, line: int) -> None:
        self.loop = loop
        self.left = line
        self.made = 0

    def make(self) -> None:
        self.made += 1

    def begin(self, has_call: bool) -> None:
        """On the loop's thread: what it calls from now on is interrupted."""
        sys.settrace(self.trace)
        if has_call:
            self.loop.execute(self.make)
        else:
            self.loop._reactor.wake_up()

    def trace(self, frame: FrameType, event: str, argument: object) -> object:
        if frame.f_code.co_name not in STEPS:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self.loop.execute(self.make)
        return self.trace


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("has_call", [True, False])
def test_posting_may_be_interrupted_at_any_line(backend: str, has_call: bool) -> None:
    """What the interruption posts is called, though nothing else wakes the loop."""
    with served(backend, Recorder()) as engine:
        loop = engine.reactors[0]
        for line in range(1, 100):
            interruption = Interruption(loop, line)
            on_loop(loop, partial(interruption.begin, has_call))
            until(lambda: interruption.made >= has_call)  # noqa: B023
            sleep(0.02)  # the loop goes to sleep
            if interruption.left > 0:
                break
            until(lambda: interruption.made == has_call + 1)  # noqa: B023
        on_loop(loop, lambda: sys.settrace(None))
        assert 7 < line < 99


IDLE = """
class Idle(Echo):
    def strike(self, number, frame):
        if number == signal.SIGUSR1:
            for loop in self.engine.reactors:
                loop.execute(lambda: print("struck", flush=True))
        else:
            self.engine.stop()

handler = Idle()
signal.signal(signal.SIGUSR1, handler.strike)
signal.signal(signal.SIGUSR2, handler.strike)
ringnet.run(handler, address, backend=backend)
print("over", flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_sleeping_reactor_runs_the_handlers_of_the_program(backend: str) -> None:
    with program(IDLE, backend) as (process, port):
        assert process.stdout is not None
        with connect(port) as client:
            assert echoes(client, b"x")
        for _ in range(3):
            process.send_signal(signal.SIGUSR1)
            assert process.stdout.readline() == "struck\n"
        process.send_signal(signal.SIGUSR2)
        assert process.communicate(timeout=WAIT) == ("over\n", "")


FORKS = """
class Forks(Echo):
    def on_traffic(self, conn):
        if conn.next() == b"fork":
            child = os.fork()
            if child:
                status = os.waitpid(child, 0)[1]
                conn.write(b"%d" % os.waitstatus_to_exitcode(status))
        else:
            conn.write(b"parent")

me = os.getpid()
try:
    ringnet.run(Forks(), address, backend=backend, reactors=int(sys.argv[2]))
except ringnet.EngineStateError as error:
    assert os.getpid() != me
    assert "belongs to the parent process" in str(error)
    os._exit(7)
print("over", os.getpid() == me, flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("reactors", ["1", "2"])
def test_in_a_child_that_a_handler_forked_run_raises(backend: str, reactors: str) -> None:
    """The first connection is the first reactor's, which `run` hosts."""
    with program(FORKS, backend, reactors) as (process, port), connect(port) as client:
        client.sendall(b"fork")
        assert receive(client, 1) == b"7"
        client.sendall(b"x")
        assert receive(client, 6) == b"parent"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=WAIT)
    assert (out, process.returncode) == ("over True\n", 0)
    assert "Traceback" not in err


FAILS = """
class Fails(Echo):
    def on_traffic(self, conn):
        sys.exit(5)

ringnet.run(Fails(), address, backend=backend)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_an_exit_in_a_handler_ends_the_program(backend: str) -> None:
    with program(FAILS, backend) as (process, port), connect(port) as client:
        client.sendall(b"x")
        process.communicate(timeout=WAIT)
    assert process.returncode == 5


def test_signals_are_left_alone_away_from_the_main_thread() -> None:
    """Where Python allows no handlers, `run` serves without."""
    text = """
thread = threading.Thread(target=ringnet.run, args=(Echo(), address), kwargs={"backend": backend})
thread.daemon = True
thread.start()
signal.sigwait([signal.SIGUSR1])
print(signal.getsignal(signal.SIGTERM).name, flush=True)
"""
    blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
    with program(blocked + text, "epoll") as (process, port):
        with connect(port) as client:
            assert echoes(client, b"x")
        process.send_signal(signal.SIGUSR1)
        assert process.communicate(timeout=WAIT)[0] == "SIG_DFL\n"
