"""Names are resolved by a bounded number of threads, and nothing waits for a dead resolver."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from time import monotonic

import pytest
import ringnet
from engine_tools import IN_CHILDREN, WAIT, until
from ringnet.engine.base.processes import EXIT_TIMEOUT
from ringnet.engine.reactor.resolvers import Resolvers

ENDS = """
import socket, sys, threading, time
import ringnet

asked = threading.Event()
real = socket.getaddrinfo
def dead(host, *rest, **more):
    if host != "dead.test":
        return real(host, *rest, **more)
    if more.get("flags"):
        raise socket.gaierror(socket.EAI_NONAME, "not a number")
    asked.set()
    time.sleep(600)
socket.getaddrinfo = dead

backend, how = sys.argv[1:]
client = ringnet.Client(ringnet.EventHandler(), backend=backend).start()
futures = [client.register("tcp://dead.test:80") for _ in range(20)]
assert asked.wait(20)
if how == "stop":
    print(client.stop(), futures[0].exception(20), flush=True)
elif how == "raise":
    raise SystemExit(3)
print("end", threading.active_count() < 12, flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("how", ["stop", "raise", "fall off"])
def test_a_dead_resolver_does_not_hold_up_the_end_of_a_program(backend: str, how: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", ENDS, backend, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        began = monotonic()
        out, err = process.communicate(timeout=WAIT)
        assert monotonic() - began < EXIT_TIMEOUT + 10, "with the start of Python"
    finally:
        process.kill()
        process.wait(WAIT)
    assert err == ""
    assert process.returncode == (3 if how == "raise" else 0)
    if how == "stop":
        assert out.startswith("True the engine is stopping")
    if how != "raise":
        assert out.endswith("end True\n")


def test_so_many_at_once_and_the_others_in_their_order() -> None:
    resolvers = Resolvers(3)
    go_on = threading.Event()
    made: list[int] = []
    running: list[int] = []
    begun: list[int] = []
    most: list[int] = []
    before = threading.active_count()

    def call(number: int) -> None:
        begun.append(number)
        running.append(number)
        most.append(len(running))
        assert go_on.wait(WAIT)
        made.append(number)
        running.remove(number)

    for number in range(20):
        resolvers.submit(lambda number=number: call(number))  # type: ignore[misc]
    until(lambda: len(running) == 3)
    assert threading.active_count() == before + 3
    go_on.set()
    until(lambda: len(made) == 20)
    assert max(most) <= 3
    assert all(place - 3 <= number <= place + 3 for place, number in enumerate(begun))
    resolvers.end()
    until(lambda: threading.active_count() == before)
    resolvers.submit(lambda: made.append(99))
    assert 99 not in made


def test_the_threads_are_daemons_and_only_as_many_as_needed() -> None:
    resolvers = Resolvers(8)
    names: list[tuple[str, bool]] = []

    def call() -> None:
        me = threading.current_thread()
        names.append((me.name, me.daemon))

    for number in range(5):
        resolvers.submit(call)
        until(lambda: len(names) == number + 1)  # noqa: B023
        until(lambda: not resolvers._unfinished)
    assert set(names) == {("ringnet-resolver-0", True)}
    resolvers.end()
    until(lambda: not resolvers._threads)


def test_a_thread_that_has_just_taken_a_call_is_not_free_for_the_next() -> None:
    resolvers = Resolvers(2)
    go_on = threading.Event()
    made: list[int] = []
    resolvers.submit(lambda: made.append(0))
    until(lambda: made and not resolvers._unfinished)
    with resolvers._lock:  # the thread can take the call, and note nothing
        resolvers.submit(lambda: go_on.wait(3 * WAIT))
        until(resolvers._calls.empty)
        resolvers.submit(lambda: made.append(1))
    until(lambda: made == [0, 1])
    go_on.set()
    resolvers.end()
    until(lambda: not resolvers._threads)


def test_a_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error where there is none at all; else those that there are do it."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolvers = Resolvers(4)
    made: list[int] = []
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            resolvers.submit(lambda: made.append(1))
    go_on = threading.Event()
    resolvers.submit(lambda: go_on.wait(WAIT))
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", refuse)
        resolvers.submit(lambda: made.append(2))
    go_on.set()
    until(lambda: made == [2])
    resolvers.end()


def test_whatever_a_resolver_raises_is_the_end_of_its_dial_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo

    def broken(host: object, *rest: object, **more: object) -> object:
        if host != "broken.test":
            return real(host, *rest, **more)  # type: ignore[arg-type]
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        raise SystemExit("from a resolver")

    monkeypatch.setattr(socket, "getaddrinfo", broken)
    with ringnet.Client(ringnet.EventHandler(), resolver_threads=1) as client:
        for _ in range(3):
            future = client.register("tcp://broken.test:80")
            error = future.exception(WAIT)
            assert isinstance(error, ringnet.ConnectionClosed), "an interrupt is for its own thread"
            assert "from a resolver" in str(error)
        assert client.engine.is_running
