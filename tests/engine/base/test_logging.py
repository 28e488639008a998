"""Logging, and options of the wrong kind."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, dial
from places import TOOLS

PROGRAM = """
import sys, threading, ringnet
import kqueue_shim

kqueue_shim.install()

class Fails(ringnet.EventHandler):
    def on_boot(self, engine):
        self.engine = engine
        print(engine.addresses[0], flush=True)
    def on_tick(self):
        threading.Timer(0.1, self.engine.stop).start()
        raise RuntimeError("of the handler")

if sys.argv[1] == "run":
    ringnet.run(Fails(), "tcp://127.0.0.1:0", backend=sys.argv[2])
else:
    with ringnet.Engine(Fails(), "tcp://127.0.0.1:0", backend=sys.argv[2]) as engine:
        engine.wait()
"""


class Fails(Recorder):
    def on_traffic(self, conn: ringnet.Connection) -> Any:
        raise RuntimeError("of the handler")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def make_it_fail(**options: Any) -> None:
    with ringnet.Engine(Fails(), "tcp://127.0.0.1:0", **options) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert client.recv(1) == b""


def test_a_logger_of_ones_own(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    make_it_fail(logger=logging.getLogger("mine"), backend=backend)
    assert [record.name for record in caplog.records] == ["mine"]
    assert "of the handler" in caplog.text


def test_level_and_file(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    make_it_fail(log_file=str(path), log_level="info", backend=backend)
    text = path.read_text()
    assert "serves with" in text
    assert "RuntimeError: of the handler" in text
    assert "has ended" in text
    path.unlink()
    make_it_fail(log_file=str(path), log_level="critical", backend=backend)
    assert path.read_text() == ""


def test_a_file_that_cannot_be_written() -> None:
    with pytest.raises(OSError, match="nowhere"):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", log_file="/nowhere/log").start()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"log_level": "loud"}, "log_level"),
        ({"logger": "name"}, "logging.Logger"),
        ({"log_file": 3}, "a path as text"),
        ({"load_balancing": "random"}, "round_robin, least_connections, source_hash"),
        ({"cpus": [0]}, "tuple of CPU numbers"),
        ({"bind_to_device": 1}, "its name as text"),
        ({"linger": -2}, "from -1 to 65535 s"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ringnet.OptionError, match=says):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["run", "engine"])
def test_a_library_is_silent_and_run_is_helpful(way: str, backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way, backend],
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
        env={**os.environ, "PYTHONPATH": str(TOOLS)},  # for the shim
    )
    assert ("RuntimeError: of the handler" in done.stderr) == (way == "run")
