"""The programs in C: compiled when they are missing or older than their sources."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
BUILD = SOURCES.parent / "build" / "perf"  # git does not look there
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")
COMPILE_SECONDS = 120
REMEDY = "install a C compiler and liburing (on Debian: apt install gcc libc6-dev liburing-dev)"


class CannotBuild(Exception):
    """A program could not be compiled; the text says why, and what to install."""


def build(name: str) -> Path:
    """Give the program made of `name`.c. Raises CannotBuild."""
    program = BUILD / name
    if not _is_current(program):
        BUILD.mkdir(parents=True, exist_ok=True)
        _compile(SOURCES / f"{name}.c", program)
    return program


def _is_current(program: Path) -> bool:
    if not program.exists():
        return False
    newest = max(source.stat().st_mtime_ns for source in SOURCES.glob("*.[ch]"))
    return program.stat().st_mtime_ns > newest


def _compile(source: Path, program: Path) -> None:
    compiler = shlex.split(os.environ.get("CC", "cc"))
    # Under another name first: what was cut off must not look like a program.
    unfinished = program.with_name(f"{program.name}.{os.getpid()}")
    command = [*compiler, *FLAGS, str(source), "-o", str(unfinished), "-luring"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{source.name}: {error}: {REMEDY}") from error
    if done.returncode:
        unfinished.unlink(missing_ok=True)
        raise CannotBuild(f"{source.name}: {_first_error(done.stderr)}: {REMEDY}")
    unfinished.replace(program)


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "cc failed")
