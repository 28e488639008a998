"""One fixture gives every backend that this system has; a test never names one.

With RINGNET_FAULTS=SEED every test runs on faults: see faults.py.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "tools"))  # the helpers, by plain name
sys.path.append(str(Path(__file__).parent.parent / "perf"))  # scripts and their rooms

import faults
import kqueue_shim
from contract_tools import Rig, backend_names, rig
from ringnet.completion import Bounds

# Who is started in the background of a shell ignores SIGINT, and so would the children of tests.
signal.signal(signal.SIGINT, signal.default_int_handler)
kqueue_shim.install()
SEED = int(os.environ.get("RINGNET_FAULTS", "0"))
_elsewhere: Counter[str] = Counter()  # what happened in other processes of the run
if SEED:
    faults.install()


@pytest.fixture(autouse=True)
def _faults(request: pytest.FixtureRequest) -> None:
    """Each test begins with a seed of its own, so that it can be replayed alone."""
    if SEED:
        faults.begin(faults.seed_of(SEED, request.node.name))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist says what happened in it."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["faults"] = faults.happened()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _elsewhere.update(getattr(node, "workeroutput", {}).get("faults", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not SEED:
        return
    for kind, count in faults.happened().items():
        terminalreporter.write_line(f"{count + _elsewhere[kind]:9} {kind}")
    terminalreporter.write_line(f"replay: RINGNET_FAULTS={SEED} and the name of a test")


@pytest.fixture(params=backend_names())
def backend_name(request: pytest.FixtureRequest) -> str:
    """The name of each backend; on Linux io_uring is never passed over."""
    name: str = request.param
    return name


@pytest.fixture
def make_rig(backend_name: str) -> Iterator[Callable[..., Rig]]:
    """Makes rigs with the given bounds; they leave nothing behind."""
    with ExitStack() as stack:

        def make(**bounds: int) -> Rig:
            return stack.enter_context(rig(backend_name, Bounds(**bounds)))

        yield make


@pytest.fixture
def made(make_rig: Callable[..., Rig]) -> Rig:
    """A rig with the bounds that are the default."""
    return make_rig()
