"""Worker pools in forked children, and what a task leaves in memory."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ringnet
from engine_tools import WAIT, Recorder, dial, until

FORKS = """
import os, sys, threading
import ringnet

pool = {pool}
before = {before}

def in_child():
    child = os.fork()
    if child == 0:
        try:
            assert pool.submit(abs, -1).result(20) == 1
            assert len(list(pool.map(abs, range(-50, 0)))) == 50
            assert not pool.waiting
            pool.submit(abs, -1)
            if threading.current_thread() is threading.main_thread():
                print("child", pool.release(20), flush=True)
        except BaseException as error:
            print("failed", repr(error), flush=True)
        os._exit(0)
    os.waitpid(child, 0)

for _ in range(before):
    pool.submit(abs, -1).result(20)
{how}
print("parent", pool.submit(abs, -2).result(20), pool.release(20), flush=True)
"""
POOLS = {
    "one": "ringnet.WorkerPool(2, idle_timeout=None)",
    "preallocated": "ringnet.WorkerPool(2, preallocate=True)",
    "many": "ringnet.MultiPool(2, 2)",
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("before", [0, 5])
def test_a_pool_works_in_a_forked_child(pool: str, before: int) -> None:
    text = FORKS.format(pool=POOLS[pool], before=before, how="in_child()")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        capture_output=True,
        text=True,
        timeout=WAIT * 2,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("child True\nparent 2 True\n", "")


def test_a_pool_that_was_full_when_it_was_forked() -> None:
    full = "gate = threading.Event()\nfor _ in range(2): pool.spawn(gate.wait)\n"
    how = full + "in_child()\ngate.set()"
    text = FORKS.format(pool=POOLS["one"], before=0, how=how)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        capture_output=True,
        text=True,
        timeout=WAIT * 2,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("child True\nparent 2 True\n", "")


def test_a_task_that_forks_goes_on_in_the_child() -> None:
    task = """
def task():
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"%d" % pool.running)
        os.write(write, b"%d" % pool.submit(abs, -5).result(20))
        os._exit(0)
    os.waitpid(child, 0)
    print(os.read(read, 10), flush=True)
pool.submit(task).result(20)
"""
    text = FORKS.format(pool=POOLS["one"], before=1, how=task)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", text],
        capture_output=True,
        text=True,
        timeout=WAIT * 2,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("b'15'\nparent 2 True\n", "")


class Trouble(Exception):
    """Of a task; it can be referred to weakly."""


class Thing:
    """Something that a task has."""


def fails(thing: Thing) -> None:
    raise Trouble(id(thing))


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("many", [False, True])
def test_a_failed_task_is_freed_by_counting(many: bool) -> None:
    pool: Any = ringnet.MultiPool(1, 1) if many else ringnet.WorkerPool(1)
    with without_collector():
        thing = Thing()
        future = pool.submit(fails, thing)
        refs = [weakref.ref(thing), weakref.ref(future.exception(WAIT)), weakref.ref(future)]
        del thing, future
        until(lambda: not any(ref() for ref in refs))
    assert pool.release(WAIT)


def test_a_failed_spawn_is_freed_by_counting() -> None:
    refs: list[weakref.ref[Any]] = []
    pool = ringnet.WorkerPool(1, on_error=lambda error: refs.append(weakref.ref(error)))
    with without_collector():
        thing = Thing()
        refs.append(weakref.ref(thing))
        pool.spawn(fails, thing)
        del thing
        until(lambda: len(refs) == 2 and not any(ref() for ref in refs))
    assert pool.release(WAIT)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_failure_that_is_brought_back_is_freed_by_counting(is_stopped: bool) -> None:
    handler = Recorder()
    log = logging.getLogger("aside")
    log.propagate = False  # pytest keeps what is logged
    pool = ringnet.WorkerPool(1, logger=log)
    refs: list[weakref.ref[Any]] = []
    with ringnet.Engine(handler, "tcp://127.0.0.1:0") as engine:
        with dial(engine):
            conn = handler.expect("open")
            with without_collector():
                thing = Thing()
                refs.append(weakref.ref(thing))
                if is_stopped:
                    engine.stop()

                def then(conn: Any, result: None, error: BaseException | None) -> None:
                    refs.append(weakref.ref(error))  # type: ignore[arg-type]

                pool.submit_to(conn, fails, then, thing)
                del thing
                expected = 1 if is_stopped else 2
                until(lambda: len(refs) == expected and not any(ref() for ref in refs))
    assert pool.release(WAIT)
