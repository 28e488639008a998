"""Reactors on several threads; their connections never move."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, Where, on_loop, talk


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reuse_port", [False, True])
def test_connections_are_shared_and_never_move(backend: str, reuse_port: bool) -> None:
    handler = Where()
    options = {"backend": backend, "reactors": 3, "reuse_port": reuse_port}
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        for client in talk(engine, 60):
            stack.enter_context(client)
        assert all(len(places) == 1 for places in handler.places.values())
        loads = [reactor.load for reactor in engine.reactors]
        assert sum(loads) == engine.count_connections() == 60
        if reuse_port:
            assert sum(load > 0 for load in loads) > 1  # the kernel hashes them
        else:
            assert loads == [20, 20, 20]
    assert [reactor.load for reactor in engine.reactors] == [0, 0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_multicore_and_cpus(backend: str) -> None:
    usable = sorted(os.sched_getaffinity(0))
    options = {"backend": backend, "multicore": True, "cpus": tuple(usable)}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine:
        assert len(engine.reactors) == len(usable)
        for reactor in engine.reactors:
            cpus = on_loop(reactor, lambda: os.sched_getaffinity(0))
            assert cpus == {usable[reactor.number]}
    assert os.sched_getaffinity(0) == set(usable)


def test_multicore_counts_the_cpus_that_may_be_used() -> None:
    """Not those that there are: a container, or taskset(1), may leave fewer."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usable)})  # of this thread only
    try:
        assert ringnet.Engine(Recorder(), "tcp://:0", multicore=True).options.reactors == 1
    finally:
        os.sched_setaffinity(0, usable)
    assert ringnet.Engine(Recorder(), "tcp://:0", multicore=True).options.reactors == len(usable)


def test_reactors_that_are_told_count_more_than_multicore() -> None:
    assert ringnet.Engine(Recorder(), "tcp://:0", multicore=True, reactors=3).options.reactors == 3


def test_a_cpu_that_is_not_there() -> None:
    threads = threading.active_count()
    with pytest.raises(OSError, match=r"cpus.*4095"):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", cpus=(4095,)).start()
    assert threading.active_count() == threads
