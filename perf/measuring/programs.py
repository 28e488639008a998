"""The programs in C and Go: compiled when they are missing or older than their sources."""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

PERF = Path(__file__).resolve().parent.parent
NATIVE = PERF / "native"
GNET = PERF / "gnet"
BUILD = PERF.parent / "build" / "perf"  # ignored by git
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wl,--as-needed", "-pthread")
COMPILE_SECONDS = 300
C_REMEDY = "install a C compiler and liburing (on Debian: apt install gcc libc6-dev liburing-dev)"
GO_REMEDY = "install Go 1.21 or newer (https://go.dev/dl), with its module proxy in reach"
LOAD = (
    "load", "options", "marks", "distance", "messages", "connect",
    "echo", "oneway", "sink", "churn",
)  # fmt: skip
SOURCES = {"load": LOAD}  # of programs with more than one


class CannotBuild(Exception):
    """A program could not be compiled; the message has the reason, and what to install."""


@functools.cache
def build(name: str) -> Path:
    """The program made from native/`name`.c. Raises CannotBuild."""
    program = BUILD / name
    if not _is_current(program, [*NATIVE.glob("*.[ch]")]):
        sources = [str(NATIVE / f"{source}.c") for source in SOURCES.get(name, (name,))]
        compiler = shlex.split(os.environ.get("CC", "cc"))
        _compile([*compiler, *FLAGS, *sources], ["-luring"], program, C_REMEDY)
    return program


def pinned(on: Collection[int], seconds: int, command: Sequence[str]) -> list[str]:
    """The command to run another one on these CPUs, for at most `seconds`. Raises CannotBuild.

    This is a program because what subprocess runs after fork() can hang where there are threads.
    """
    return [str(build("pinned")), ",".join(map(str, sorted(on))), str(seconds), *command]


def build_gnet() -> Path:
    """The gnet server. Raises CannotBuild."""
    program = BUILD / "gnet"
    go = shutil.which("go")
    if go is None:
        raise CannotBuild(f"there is no go: {GO_REMEDY}")
    if not _is_current(program, [*GNET.iterdir()]):
        _compile([go, "build", "-C", str(GNET)], [], program, GO_REMEDY)
    return program


def _is_current(program: Path, sources: list[Path]) -> bool:
    if not program.exists():
        return False
    newest = max(source.stat().st_mtime_ns for source in sources)
    return program.stat().st_mtime_ns > newest


def _compile(command: list[str], libraries: list[str], program: Path, remedy: str) -> None:
    program.parent.mkdir(parents=True, exist_ok=True)
    # Under another name first: a build that was cut off must not look like a program.
    unfinished = program.with_name(f"{program.name}.{os.getpid()}")
    command = [*command, "-o", str(unfinished), *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f"{program.name}: {error}: {remedy}") from error
    if done.returncode:
        unfinished.unlink(missing_ok=True)
        raise CannotBuild(f"{program.name}: {_first_error(done.stderr)}: {remedy}")
    unfinished.replace(program)


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "no output")
