"""Log handlers, filters and formatters that raise: the engine goes on as if nothing was said."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, until
from ringnet.engine.base.logs import Log, ThrottledLog
from setback_tools import Breakable


class Disk(logging.Handler):
    """Is full, from the first line on."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        raise self.error


class Refusing(logging.Filter):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def filter(self, record: logging.LogRecord) -> bool:
        raise self.error


ERRORS = (OSError(errno.ENOSPC, "disk full"), GeneratorExit("of the log"), MemoryError())


@pytest.fixture(params=["handler", "filter"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_logger(way: str) -> Iterator[Any]:
    """Makes a logger that raises, in one way or the other."""
    logger = logging.Logger("full")

    def make(error: BaseException) -> logging.Logger:
        if way == "handler":
            logger.addHandler(Disk(error))
        else:
            logger.addFilter(Refusing(error))
        return logger

    yield make
    logger.handlers.clear()


class Fails(Recorder):
    """Raises in the method that the peer names."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        order = conn.next()
        if order == b"traffic":
            raise RuntimeError("on_traffic")
        conn.context = order
        conn.write(order)

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action:
        if conn.context == b"end":
            raise RuntimeError("on_end")
        return ringnet.Action.CLOSE

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        super().on_close(conn, error)
        if conn.context == b"close":
            raise RuntimeError("on_close")

    def on_shutdown(self, engine: ringnet.Engine) -> None:
        super().on_shutdown(engine)
        raise RuntimeError("on_shutdown")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_log_that_raises_has_no_effect(
    backend: str, error: BaseException, make_logger: Any
) -> None:
    handler, ends = Fails(), []
    engine = ringnet.Engine(
        handler, "tcp://127.0.0.1:0", backend=backend, logger=make_logger(error)
    ).start()
    with dial(engine) as bystander:
        for order in (b"traffic", b"end", b"close"):
            with dial(engine) as client:
                client.sendall(order)
                client.settimeout(WAIT)
                receive(client, len(order))
        on_loop(engine.reactors[0], lambda: engine.reactors[0].execute(lambda: 1 / 0))
        bystander.sendall(b"still here")
        assert receive(bystander, 10) == b"still here"
        assert engine.is_running
        assert engine.stop(WAIT)
        assert bystander.recv(1) == b""
    while not handler.seen.empty():
        name, detail = handler.seen.get()
        if name == "close":
            ends.append(str(detail))
    assert sorted(ends) == ["None", "None", "on_end", "on_traffic"]
    assert not engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_reactor_that_fails_ends_in_order_though_its_log_raises(
    backend: str, error: BaseException, make_logger: Any
) -> None:
    """The line about the failure is one of those that raise."""
    handler = Recorder()
    options = {"backend": backend, "logger": make_logger(error), "reactors": 2}
    engine = Breakable(handler, "tcp://127.0.0.1:0", **options).start()
    with dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        engine.failure = OSError(errno.EBADF, "the backend is broken")
        engine.group.reactors[0].wake_up()
        with pytest.raises(OSError, match="broken"):
            engine.wait(WAIT)
        handler.expect("open")
        handler.expect("close")
        assert handler.expect("shutdown") == 0
        assert client.recv(1) == b""
    assert not engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exit_in_a_log_handler_ends_the_engine(backend: str) -> None:
    logger = logging.Logger("exits")
    disk = Disk(SystemExit(3))
    disk.setLevel(logging.ERROR)
    logger.addHandler(disk)
    engine = ringnet.Engine(Fails(), "tcp://127.0.0.1:0", backend=backend, logger=logger)
    with pytest.raises(SystemExit, match="3"):
        engine.start()
        with dial(engine) as client:
            client.sendall(b"traffic")
            assert client.recv(1) == b""
        engine.wait(WAIT)
    assert not engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_log_file_that_cannot_be_closed_holds_up_no_end(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still in its buffer does not fit on the disk."""
    close = logging.FileHandler.close

    def full(self: logging.FileHandler) -> None:
        close(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(logging.FileHandler, "close", full)
    handler = Recorder()
    options = {"backend": backend, "log_file": str(tmp_path / "log")}
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", **options).start()
    with dial(engine):
        handler.expect("open")
    assert engine.stop(WAIT)
    assert not engine.is_running


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a disk that is always full")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_disk_that_is_full(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The real thing: each line is refused by the system, and so is the end."""
    handler = Fails()
    engine = ringnet.Engine(
        handler, "tcp://127.0.0.1:0", backend=backend, log_file="/dev/full", log_level="debug"
    ).start()
    with dial(engine) as client:
        client.sendall(b"traffic")
        assert client.recv(1) == b""
    handler.expect("open")
    assert str(handler.expect("close")) == "on_traffic"
    assert engine.stop(WAIT)
    assert not engine.is_running
    assert "No space left on device" in capsys.readouterr().err


def test_a_worker_pool_outlives_its_log(make_logger: Any) -> None:
    done = threading.Event()
    pool = ringnet.WorkerPool(1, logger=make_logger(OSError(errno.ENOSPC, "disk full")))
    try:
        pool.spawn(lambda: 1 / 0)
        until(lambda: pool.free == 1)
        pool.spawn(done.set)
        assert done.wait(WAIT)
    finally:
        assert pool.release(WAIT)


def test_it_is_said_to_standard_error_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    """As `logging` does with what its own handlers raise, and only where it would."""
    logger = logging.Logger("full")
    logger.addHandler(Disk(OSError(errno.ENOSPC, "disk full")))
    log = Log(logger)
    for _ in range(100):
        log.warning("a line")
    assert capsys.readouterr().err.count("disk full") == 1


def test_the_log_is_heard_again_when_it_works_again() -> None:
    logger, disk = logging.Logger("full"), Disk(OSError(errno.ENOSPC, "disk full"))
    logger.addHandler(disk)
    throttled = ThrottledLog(Log(logger))
    throttled.warning("one kind: %s", 1)
    throttled.warning("one kind: %s", 2)
    throttled.warning("another kind")
    assert disk.lines == ["one kind: 1", "another kind"]


class Unprintable:
    def __repr__(self) -> str:
        raise SyntaxError("no words for it")


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be_printed(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A call that raises and whose repr raises, and a handler that would not catch it."""
    said: list[str] = []

    class Call(Unprintable):
        def __call__(self, *_: object) -> None:
            raise RuntimeError("of the call")

    logger = logging.Logger("strict")
    strict = logging.StreamHandler()
    strict.emit = lambda record: said.append(strict.format(record))  # type: ignore[method-assign]
    logger.addHandler(strict)
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, logger=logger) as engine:
        (loop,) = engine.reactors
        loop.execute(Call())
        loop.schedule(0, Call())
        with dial(engine) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
    assert "<Call; repr failed" in "".join(said)
    assert capsys.readouterr().err == ""
