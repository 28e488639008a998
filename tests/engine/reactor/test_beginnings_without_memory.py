"""A verb that begins something finds no memory: nothing of it is left, and the engine ends."""

from __future__ import annotations

import errno
import gc
import os
import threading
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, open_descriptors, receive, until
from ringnet.engine.reactor import reactor


class Scarce(ringnet.Engine):
    """One verb of its backends raises MemoryError, so many times."""

    verb = ""
    left = 0

    def make_backend(self) -> Any:
        backend: Any = super().make_backend()
        if not self.verb:
            return backend
        real = getattr(backend, self.verb)

        def scarce(*arguments: Any) -> None:
            if self.left:
                self.left -= 1
                raise MemoryError
            real(*arguments)

        setattr(backend, self.verb, scarce)
        return backend


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("verb", "scheme"), [("listen", "tcp"), ("adopt_packets", "udp")])
def test_a_listener(backend: str, verb: str, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from ringnet.engine.connection.listener import Listener

    given: list[int] = []
    real = Listener.descriptors

    def descriptors(listener: Listener) -> list[int]:
        found = real(listener)
        given.extend(found)
        return found

    monkeypatch.setattr(Listener, "descriptors", descriptors)
    engine = Scarce(Recorder(), f"{scheme}://127.0.0.1:0", backend=backend, stop_timeout=WAIT)
    engine.verb, engine.left = verb, 1
    with engine:
        (loop,) = engine.reactors
        until(lambda: not engine.left)
        on_loop(loop, bool)
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(given[0])
        assert not engine.budget.still_accepts
        assert engine.stop(WAIT), "nothing is waited for that never began"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial(backend: str) -> None:
    handler = Recorder()
    engine = Scarce(handler, "tcp://127.0.0.1:0", backend=backend)
    engine.verb = "connect"
    with engine, dial(engine) as client:
        (loop,) = engine.group.reactors
        handler.expect("open")
        before = open_descriptors()
        engine.left = 5
        for _ in range(engine.left):
            with pytest.raises(OSError, match="MemoryError"):
                engine.register(engine.addresses[0]).result(WAIT)
        assert open_descriptors() == before
        assert not loop.dials.attempts
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        assert engine.register(engine.addresses[0]).result(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_watched(backend: str) -> None:
    handler = Recorder()
    engine = Scarce(handler, "tcp://127.0.0.1:0", backend=backend)
    engine.verb = "poll"
    here, there = os.pipe()
    heard: list[bytes] = []
    with engine:
        (loop,) = engine.group.reactors
        loop.post_own(loop.watches.add, here, lambda: heard.append(os.read(here, 1)))
        on_loop(loop, bool)
        watched = len(loop.watches._calls)
        engine.left = 2
        for count in range(1, 4):
            os.write(there, b"!")
            until(lambda count=count: len(heard) == count)  # type: ignore[misc]
        assert on_loop(loop, lambda: len(loop.watches._calls)) == watched == 1
    os.close(here)
    os.close(there)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", ["set_current", "pin_thread", "Handles"])
@pytest.mark.parametrize("reactors", [1, 2])
def test_a_reactor(backend: str, step: str, reactors: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start says so at once, and leaves nothing: whoever waited for `ready` waited for ever."""

    def refuse(*arguments: Any) -> None:
        raise MemoryError

    before = open_descriptors()
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=reactors)
    with monkeypatch.context() as patch:
        patch.setattr(reactor, step, refuse)
        starting = threading.Thread(target=ends_with_memory_error, args=(engine,), daemon=True)
        starting.start()
        starting.join(WAIT)
        assert not starting.is_alive()
    gc.collect()
    assert open_descriptors() == before


def ends_with_memory_error(engine: ringnet.Engine) -> None:
    with pytest.raises(MemoryError):
        engine.start()
