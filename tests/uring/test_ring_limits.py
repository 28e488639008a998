"""io_uring is judged by what the engine will use: its rings, of their size, within the limits."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ringnet
from contract_tools import Rig
from engine_tools import WAIT, Recorder, dial, open_descriptors, receive, run_here, until
from places import TOOLS
from process_tools import doctor, echoes, program
from ringnet.completion import DATA, Bounds
from ringnet.engine.base.contract import Backend
from ringnet.engine.server import choose

LIMITS, SECCOMP = str(TOOLS / "limits.py"), str(TOOLS / "seccomp.py")
ENV = {"RINGNET_BACKEND": ""}


@pytest.mark.parametrize(
    ("memlock", "nofile", "options", "says"),
    [
        (0, 1000, "{'reactors': 1}", "ulimit -l"),
        (64, 1000, "{'reactors': 1}", "ulimit -l"),
        (2048, 1000, "{'reactors': 100}", "take fewer reactors"),
    ],
)
def test_auto_falls_back_for_all_reactors(
    memlock: int, nofile: int, options: str, says: str
) -> None:
    under = (LIMITS, str(memlock), str(nofile))
    with program(options, *under, env=ENV) as (process, backend, where):
        assert backend == "epoll"
        assert echoes(where)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=WAIT)
    assert err.count("using epoll") == 1
    assert says in err


@pytest.mark.parametrize("by", ["option", "variable"])
def test_forced_it_says_why_and_what_helps(by: str) -> None:
    under = (LIMITS, "64", "1000")
    options = "{'backend': 'io_uring'}" if by == "option" else "{}"
    env = {"RINGNET_BACKEND": "" if by == "option" else "io_uring"}
    with (
        pytest.raises(AssertionError, match=r"cannot run here: .*64 KiB.*ulimit -l"),
        program(options, *under, env=env),
    ):
        pass


def test_with_enough_it_is_io_uring() -> None:
    under = (LIMITS, "4096", "1000")
    with program("{'reactors': 5}", *under, env=ENV) as (_, backend, where):
        assert backend == "io_uring"
        assert echoes(where)


def test_the_doctor_says_it_too() -> None:
    status, found = doctor(LIMITS, "64", "1000", env=ENV)
    assert status == 0
    assert found["auto"]["backend"] == "epoll"  # type: ignore[index]


@pytest.mark.parametrize("call", ["setup", "enter", "register"])
@pytest.mark.parametrize("refusal", ["EPERM", "ENOSYS", "EACCES"])
def test_a_filter_is_told_from_what_a_kernel_lacks(refusal: str, call: str) -> None:
    under = (SECCOMP, f"{refusal}:{call}")
    _, found = doctor(*under, env=ENV)
    assert found["cause"] == "seccomp"
    reason = found["backends"][0]["reason"]  # type: ignore[index]
    assert f"refuses io_uring_{call} with {refusal}" in reason
    with program("{}", *under, env=ENV) as (_, backend, where):
        assert backend == "epoll"
        assert echoes(where)


class Fails:
    """Makes rings, but for one of them."""

    def __init__(self, which: int, number: int) -> None:
        self.which, self.number = which, number
        self.made = 0
        self.lock = threading.Lock()

    def install(self, patch: pytest.MonkeyPatch) -> None:
        from ringnet.uring import backend

        real = backend.UringBackend._open

        def make(bounds: Bounds, setup_mask: int) -> Any:
            with self.lock:
                self.made += 1
                fails = self.made == self.which
            if fails:
                raise OSError(self.number, os.strerror(self.number))
            return real(bounds, setup_mask)

        patch.setattr(backend.UringBackend, "_open", staticmethod(make))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EPERM, errno.ENFILE, errno.EINVAL])
@pytest.mark.parametrize("which", [1, 2, 3, 4, 5, 6])
def test_a_ring_that_fails_after_the_probe(
    monkeypatch: pytest.MonkeyPatch, which: int, number: int
) -> None:
    """Three are tried and three are made: whichever it is, all end on the same backend."""
    monkeypatch.delenv("RINGNET_BACKEND", raising=False)
    Fails(which, number).install(monkeypatch)
    before = open_descriptors()
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", reactors=3) as engine:
        assert engine.backend == "epoll"
        assert {reactor.backend.name for reactor in engine.group.reactors} == {"epoll"}
        assert "io_uring" in engine.backend_reason
        for _ in range(6):
            with dial(engine) as client:
                client.sendall(b"hello")
                assert receive(client, 5) == b"hello"
    assert open_descriptors() == before


@pytest.mark.parametrize("which", [1, 4, 6])
def test_a_forced_ring_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    Fails(which, errno.EMFILE).install(monkeypatch)
    before, threads = open_descriptors(), threading.active_count()
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", reactors=3, backend="io_uring")
    with pytest.raises(ringnet.BackendUnavailable, match="ulimit -n"):
        engine.start()
    assert open_descriptors() == before
    assert threading.active_count() == threads


def test_a_ring_is_waited_for_whose_memory_is_still_charged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Fails(1, errno.ENOMEM).install(monkeypatch)
    make: Callable[[Bounds], Backend] = choose.maker("io_uring")
    make(Bounds()).dispose()


BUSY = """
from contract_tools import Rig
made = Rig("io_uring")
pairs = [made.pair() for _ in range(400)]
for handle, peer in pairs:
    peer.sendall(b"x")
made.pump(lambda: all(made.received[handle] == b"x" for handle, _ in pairs))
for handle, _ in pairs:
    made.backend.send(handle, b"answer")
made.settle()
for handle, peer in pairs:
    assert peer.recv(6) == b"answer"
made.end()
print("right")
"""


@pytest.mark.parametrize("number", ["EAGAIN", "EBUSY"])
def test_a_kernel_that_takes_nothing_in_the_middle_of_commands(number: str) -> None:
    """More requests in a turn than the queue holds: they are submitted when it takes some."""
    done = run_here(SECCOMP, f"{number}:submit", "-c", BUSY)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


BROKEN = """
import errno
import seccomp
from contract_tools import Rig, count_descriptors
before = count_descriptors()
made = Rig("io_uring")
for _ in range(5):
    made.pair()
made.settle()
seccomp.install(seccomp.RETURN_ERRNO | errno.EPERM, "enter")
try:
    made.turn()
except OSError as error:
    assert error.errno == errno.EPERM
    made.end()
    print(count_descriptors() - before)
"""


def test_a_ring_that_is_refused_while_it_runs_leaves_no_descriptor() -> None:
    """Nor does one that is not quiet in time: what is not known to be over may use its memory."""
    done = run_here("-c", BROKEN)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def blocked() -> int:
    """Threads that count as waiting for I/O now, on the whole machine (proc(5))."""
    text = Path("/proc/stat").read_text(encoding="ascii")
    return int(text.partition("procs_blocked ")[2].split()[0])


def test_idle_reactors_do_not_count_as_waiting_for_io() -> None:
    count = 24
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend="io_uring", reactors=count):
        until(lambda: blocked() < count)


def test_receives_still_work_with_a_queue_that_was_full() -> None:
    made = Rig("io_uring")
    pairs = [made.pair() for _ in range(600)]
    for _, peer in pairs:
        peer.sendall(b"x")
    made.pump(lambda: sum(kind == DATA for _, kind, _, _ in made.said) >= 600)
    made.end()
