"""What the log says of a connection, and how often it says the same."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served, until
from ringnet.engine.base import logs
from ringnet.engine.base.logs import EngineLog, Log, ThrottledLog
from ringnet.engine.base.options import make_options


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def having(self, text: str) -> list[str]:
        found = [record.getMessage() for record in self.records]
        return [line for line in found if text in line]


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def logger(lines: Lines) -> logging.Logger:
    made = logging.Logger("mine")
    made.addHandler(lines)
    return made


class Fails(Recorder):
    def on_traffic(self, conn: ringnet.Connection) -> None:
        for order in conn.next().decode():
            if order == "k":
                raise KeyError("of a kind")
            if order == "v":
                raise ValueError("of another")
            conn.write(order.encode())


@pytest.mark.parametrize("backend", BACKENDS)
def test_handlers_that_raise_are_said_once_of_a_kind(
    backend: str, logger: logging.Logger, lines: Lines
) -> None:
    handler = Fails()
    with served(backend, handler, logger=logger, reactors=2) as engine:
        for order in b"k" * 30 + b"v" * 20 + b"k":
            with dial(engine) as client:
                client.sendall(bytes([order]))
                assert client.recv(1) == b""
        assert len(lines.having("on_traffic raised")) == 2
        for line in lines.having("on_traffic raised"):
            assert "peer=('127.0.0.1', " in line
        said = [record.exc_info[0] for record in lines.records if record.exc_info]
        assert said == [KeyError, ValueError]
    left = " ".join(lines.having("left out"))
    assert "30 more" in left
    assert "19 more" in left


@pytest.mark.parametrize("backend", BACKENDS)
def test_refusals_of_async_write_are_said_once_of_a_kind(
    backend: str, logger: logging.Logger, lines: Lines
) -> None:
    handler = Recorder()
    with served(backend, handler, logger=logger, max_outbound=1 << 16) as engine:
        with dial(engine):
            conn = handler.expect("open")
            for _ in range(300):
                conn.async_write(bytes(1 << 20))  # which nobody reads
            on_loop(conn.loop, lambda: None)
            assert lines.having("max_outbound")
        handler.expect("close")
        for _ in range(5_000):
            conn.async_write(b"x")
        on_loop(conn.loop, lambda: None)
        assert len(lines.having("async_write")) == 2  # of two kinds
        assert len(lines.having("peer=('127.0.0.1', ")) == 2
    assert any("4999 more" in line for line in lines.having("left out"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_timers_ticks_and_callbacks_that_raise(
    backend: str, logger: logging.Logger, lines: Lines
) -> None:
    ran: list[int] = []

    class Ticks(Recorder):
        def on_tick(self) -> float:
            ran.append(1)
            if len(ran) > 1:
                raise RuntimeError("of on_tick")
            return 0.001

    with served(backend, Ticks(), logger=logger) as engine:
        (loop,) = engine.reactors
        again: list[int] = []
        loop.repeat(0.001, lambda: (again.append(1), 1 / 0))
        until(lambda: len(again) > 20 and len(ran) > 20)
        assert len(lines.having("on_tick raised")) == 1
        assert len(lines.having("raised")) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_line_has_the_peer(backend: str, logger: logging.Logger, lines: Lines) -> None:
    """Also of a handler that asks for no address itself."""

    class Fails(ringnet.EventHandler):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            raise RuntimeError("of on_traffic")

    with served(backend, Fails(), logger=logger) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert client.recv(1) == b""
        (line,) = lines.having("on_traffic raised")
        assert f"open peer={client.getsockname()}" in line


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_not_for_other_threads_raises(backend: str) -> None:
    """The same is right on the loop, and where it is known already."""

    class Plain(ringnet.EventHandler):
        def __init__(self) -> None:
            self.opened = threading.Event()

        def on_open(self, conn: ringnet.Connection) -> None:
            self.conn = conn
            self.opened.set()

    handler = Plain()
    with served(backend, handler) as engine, dial(engine) as client:
        assert handler.opened.wait(WAIT)
        conn = handler.conn
        for name in ("remote_address", "local_address", "outbound_buffered"):
            with pytest.raises(ringnet.WrongThread, match="thread"):
                getattr(conn, name)
        assert "open" in repr(conn)
        assert on_loop(conn.loop, lambda: conn.remote_address) == client.getsockname()
        assert conn.remote_address == client.getsockname()
        assert on_loop(conn.loop, lambda: conn.outbound_buffered) == 0


def test_kinds_are_bounded(
    logger: logging.Logger, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes up kinds has at most so many lines in the time."""
    now = 0.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    throttled = ThrottledLog(Log(logger))
    for number in range(1_000):
        throttled.warning("kind %s", number, why=number)
    most = logs._MOST_KINDS
    assert len(lines.records) == most + 1
    assert len(throttled._entries) <= most + 1
    now = 100.0
    throttled.warning("kind %s", 999, why="new")
    assert len(lines.records) == most + 2
    throttled.warning("kind %s", 0, why=0)
    throttled.warning("kind %s", 0, why=0)
    throttled.close()
    assert lines.having("999 more") or lines.having("1 more")
    assert sum(int(line.split()[0]) for line in lines.having("left out")) >= 1


def test_lines_left_out_are_counted_into_the_next(
    logger: logging.Logger, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(logs, "monotonic", lambda: now)
    throttled = ThrottledLog(Log(logger))
    for _ in range(5):
        throttled.warning("a kind: %d", 7)
    now = 10.0
    for _ in range(3):
        throttled.warning("a kind: %d", 8)
    assert lines.having("a kind") == [
        "a kind: 7",
        "a kind: 8 (and 4 more since it was last logged)",
    ]
    throttled.close()
    assert lines.having("left out") == ["2 more lines like this one were left out: a kind: ..."]
    throttled.close()
    assert len(lines.having("left out")) == 1


def test_engines_leave_no_loggers(tmp_path: Path) -> None:
    gc.collect()
    before = set(logging.Logger.manager.loggerDict)
    gone = []
    for number in range(50):
        options: dict[str, Any] = {"log_level": "error"} if number % 2 else {}
        log = EngineLog(make_options({"log_file": str(tmp_path / "log"), **options}))
        gone.append(weakref.ref(log.logger))
        log.open_file(str(tmp_path / "log"))
        log.close()
    del log
    gc.collect()
    assert set(logging.Logger.manager.loggerDict) == before
    assert not [reference for reference in gone if reference() is not None]


def test_the_logger_of_an_engine_is_a_child_as_others(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """It hears of what is set on `ringnet` and on all of `logging` meanwhile."""
    path = tmp_path / "log"
    log = EngineLog(make_options({"log_file": str(path)}))
    log.open_file(str(path))
    parent = logging.getLogger("ringnet")
    try:
        log.log.warning("first")
        parent.setLevel(logging.ERROR)
        log.log.warning("second")
        parent.setLevel(logging.NOTSET)
        logging.disable(logging.WARNING)
        log.log.warning("third")
        logging.disable(logging.NOTSET)
        log.log.warning("fourth")
    finally:
        logging.disable(logging.NOTSET)
        parent.setLevel(logging.NOTSET)
        log.close()
    said = [line.partition(": ")[2] for line in path.read_text().splitlines()]
    assert said == ["first", "fourth"]
    assert [record.message for record in caplog.records] == said
    assert {record.name for record in caplog.records} == {log.logger.name}


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_with_a_level_of_its_own(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    with served(backend, Fails(), log_level="critical") as engine, dial(engine) as client:
        client.sendall(b"xk")
        assert receive(client, 2) == b"x"
    assert "on_traffic" not in caplog.text
