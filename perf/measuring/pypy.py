"""ringnet on PyPy: found, and installed into a virtual environment of its own."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

from .programs import BUILD, PERF, CannotBuild

REMEDY = "get PyPy 3.11 (https://pypy.org/download.html) onto PATH, or name it in RINGNET_PYPY"
INSTALL_SECONDS = 300
NEEDED = (3, 11)


@functools.cache
def interpreter() -> str:
    """A PyPy that imports ringnet. Raises CannotBuild."""
    base = os.environ.get("RINGNET_PYPY") or shutil.which("pypy3.11") or shutil.which("pypy3")
    if base is None:
        raise CannotBuild(f"there is no PyPy: {REMEDY}")
    found = _ask(base, "import sys; print(*sys.version_info[:2])")
    if tuple(map(int, found.split())) < NEEDED:
        raise CannotBuild(f"{base} is Python {found.replace(' ', '.')}: {REMEDY}")
    python = BUILD / "pypy" / "bin" / "python"
    if not python.exists():
        _run([base, "-m", "venv", str(BUILD / "pypy")])
    _run([str(python), "-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps",
          str(PERF.parent)])  # fmt: skip
    return str(python)


def version() -> str:
    """The version of PyPy."""
    return _ask(interpreter(), "import platform; print('PyPy', platform.python_version())")


def _ask(python: str, code: str) -> str:
    return _run([python, "-c", code]).strip()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{command[0]}: {error}: {REMEDY}") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it failed"])[-1]
        raise CannotBuild(f"{command[0]}: {last}")
    return done.stdout
