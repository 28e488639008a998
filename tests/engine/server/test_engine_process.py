"""Whole programs: signals, the doctor, and a machine that refuses io_uring."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest
from engine_tools import IN_CHILDREN, WAIT
from places import TOOLS
from process_tools import doctor, echoes, program


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("idle", [True, False])
def test_signals_end_run_and_leave_nothing(backend: str, number: int, idle: bool) -> None:
    with program(repr({"backend": backend})) as (process, _, where):
        client = socket.socket() if idle else socket.create_connection(where, timeout=WAIT)
        with client:
            process.send_signal(number)
            out, err = process.communicate(timeout=WAIT)
    assert out.splitlines() == ["shutdown 0", "1 0"]
    assert err == ""
    assert process.returncode == 0


def test_the_doctor_finds_io_uring() -> None:
    status, found = doctor(env={"RINGNET_BACKEND": ""})
    assert status == 0
    assert found["cause"] == "ok"
    assert found["auto"]["backend"] == "io_uring"  # type: ignore[index]


def test_the_doctor_speaks_to_people() -> None:
    command = [sys.executable, "-m", "ringnet", "doctor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT, check=True)
    assert "yes io_uring" in done.stdout
    assert "multishot_recv" in done.stdout
    assert "no  kqueue" in done.stdout


@pytest.mark.parametrize("refusal", ["EPERM", "ENOSYS"])
def test_a_seccomp_filter_is_named_and_auto_falls_back(refusal: str) -> None:
    under = (str(TOOLS / "seccomp.py"), refusal)
    env = {"RINGNET_BACKEND": ""}
    status, found = doctor(*under, env=env)
    assert status == 0
    assert found["cause"] == "seccomp"
    assert found["auto"]["backend"] == "epoll"  # type: ignore[index]
    with program("{}", *under, env=env) as (process, backend, where):
        assert backend == "epoll"
        assert echoes(where)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=WAIT)
    assert err.count("seccomp filter refuses") == 1, "the fallback is logged once"


def test_a_forced_backend_that_cannot_run_is_refused() -> None:
    under = (str(TOOLS / "seccomp.py"), "EPERM")
    with (
        pytest.raises(AssertionError, match=r"cannot run here: a seccomp filter .* allow io_uring"),
        program("{'backend': 'io_uring'}", *under),
    ):
        pass


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_forced_fallback_makes_no_io_uring_call(by: str) -> None:
    """The filter kills the process at the first such call."""
    under = (str(TOOLS / "seccomp.py"), "kill")
    options = "{'backend': 'epoll'}" if by == "option" else "{}"
    env = {"RINGNET_BACKEND": "" if by == "option" else "epoll"}
    with program(options, *under, env=env) as (process, backend, where):
        assert backend == "epoll"
        assert echoes(where)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT)
    assert process.returncode == 0


def test_the_killing_filter_kills() -> None:
    """Else the test above could not fail."""
    under = (str(TOOLS / "seccomp.py"), "kill")
    with (
        pytest.raises(AssertionError),
        program("{'backend': 'io_uring'}", *under),
    ):
        pass
