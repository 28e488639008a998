"""A checkout that was not built, in the directory where Python starts, hides what is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from engine_tools import WAIT
from places import ROOT

ENV = {**os.environ, "RINGNET_BACKEND": ""}
PROGRAM = """
import logging, ringnet
logging.basicConfig()
engine = ringnet.Engine(ringnet.EventHandler(), "tcp://127.0.0.1:0").start()
print(engine.backend)
engine.stop()
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources, without what a build leaves."""
    tree = tmp_path / "ringnet"
    tree.mkdir()
    for name in ("engine", "fallback", "uring"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "*.o"))
    for path in (*ROOT.glob("*.py"), ROOT / "pyproject.toml"):
        shutil.copy(path, tree)
    return tree


def run(where: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=True,
        env={**ENV, "PYTHONPATH": path},
    )


def test_the_doctor_says_from_where_it_was_imported(checkout: Path) -> None:
    found = json.loads(run(checkout.parent, "-m", "ringnet", "doctor", "--json").stdout)
    assert found["package"] == str(checkout)
    assert found["cause"] == "source"
    uring = found["backends"][0]
    assert f"source tree that was not built: {checkout}" in uring["reason"]
    assert "pip install -e" in uring["remedy"]


def test_it_says_what_is_hidden(checkout: Path, tmp_path: Path) -> None:
    """The installed package has a core."""
    installed = tmp_path / "site-packages" / "ringnet"
    shutil.copytree(checkout, installed, ignore=shutil.ignore_patterns("pyproject.toml"))
    (installed / "uring" / "_ring.abi3.so").write_bytes(b"")
    done = run(checkout.parent, "-m", "ringnet", "doctor", path=str(installed.parent))
    assert f"hides the installed package in {installed}" in done.stdout
    assert f"another directory than {checkout.parent}" in done.stdout


def test_auto_warns_with_it(checkout: Path) -> None:
    done = run(checkout.parent, "-c", PROGRAM)
    assert done.stdout == "epoll\n"
    assert "using epoll: ringnet was imported from a source tree" in done.stderr
    assert str(checkout) in done.stderr


def test_the_doctor_names_the_package_where_all_is_well(tmp_path: Path) -> None:
    done = run(tmp_path, "-m", "ringnet", "doctor")
    assert "package    " in done.stdout
    assert "yes io_uring" in done.stdout
