"""The file of a Unix socket that cannot be removed, as where rights were given up."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, Talker, dial


@pytest.fixture
def files_that_stay(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def unlink(path: object, **_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "unlink", unlink)
    return monkeypatch


def served_twice(backend: str, path: Path, handler: ringnet.EventHandler) -> ringnet.Engine:
    return ringnet.Engine(handler, "tcp://127.0.0.1:0", f"unix://{path}", backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["stop", "action", "exit"])
@pytest.mark.usefixtures("files_that_stay")
def test_the_engine_ends_all_the_same(
    backend: str, how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Ends(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
            if conn.next() == b"!":
                raise SystemExit(7)
            return ringnet.Action.SHUTDOWN

    handler = Ends()
    with caplog.at_level(logging.WARNING, "ringnet"):
        engine = served_twice(backend, tmp_path / "s", handler).start()
        with dial(engine) as client:
            handler.expect("open")
            if how == "stop":
                assert engine.stop()
            else:
                client.sendall(b"." if how == "action" else b"!")
            assert client.recv(1) == b""
        if how == "exit":
            with pytest.raises(SystemExit):
                engine.wait(WAIT)
        else:
            assert engine.wait(WAIT)
    end = handler.expect("close")
    assert end is None if how != "exit" else isinstance(end, SystemExit)
    handler.expect("shutdown")
    lines = [record.getMessage() for record in caplog.records if "removed" in record.getMessage()]
    assert len(lines) == 1
    assert str(tmp_path / "s") in lines[0]
    assert "Permission denied" in lines[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_could_not_be_bound_is_said(
    backend: str, tmp_path: Path, files_that_stay: pytest.MonkeyPatch
) -> None:
    missing = f"unix://{tmp_path}/no/s"
    with pytest.raises(ringnet.BindError, match="/no/s"):
        ringnet.Engine(Recorder(), f"unix://{tmp_path}/s", missing, backend=backend).start()
    files_that_stay.undo()
    with served_twice(backend, tmp_path / "s", Recorder()):
        pass  # what is left of it is no obstacle
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_not_handed_over_is_removed(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second of two sockets cannot be handed over: so none is, and both files are removed."""
    paths = [tmp_path / "a", tmp_path / "b"]
    addresses = [f"unix://{path}" for path in paths]
    with ringnet.Engine(Talker(), *addresses, backend=backend) as engine:
        real, given = os.set_inheritable, 0

        def refused_the_second(fd: int, inheritable: bool) -> None:
            nonlocal given
            given += 1
            if given == 2:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            real(fd, inheritable)

        monkeypatch.setattr(os, "set_inheritable", refused_the_second)
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            engine.hand_over()
        with ringnet.Client(Talker(), backend=backend) as client:
            for address in addresses:
                client.dial(address)
    assert [path.exists() for path in paths] == [False, False]
