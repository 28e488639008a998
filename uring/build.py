"""How cffi builds the C core: `core/ring.h` is what Python sees.

liburing is linked statically where its archive is installed, so that a wheel needs nothing at run
time. The extension is optional: where liburing, a compiler or Linux is missing, the installation
succeeds without it, and `python -m ringnet doctor` says what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

from cffi import FFI

CORE = Path(__file__).parent / "core"
ROOT = CORE.parent.parent
SOURCES = [
    "ring.c",
    "enter.c",
    "idle.c",
    "commands.c",
    "slots.c",
    "accept.c",
    "once.c",
    "cancel.c",
    "changes.c",
    "room.c",
    "stage.c",
    "again.c",
    "close.c",
    "pins.c",
    "pool.c",
    "packets.c",
    "inbox.c",
    "lines.c",
    "source.c",
    "buffers.c",
    "peer_end.c",
    "pending.c",
    "setup.c",
]
HEADERS = ["ring.h", "kernel.h", "core.h", "lists.h", "calls.h"]


def declarations() -> str:
    """ring.h without the lines for the C preprocessor, which cffi does not read."""
    lines = (CORE / "ring.h").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def static_liburing() -> str | None:
    """The path of liburing.a as the compiler finds it, if it does."""
    compiler = os.environ.get("CC", sysconfig.get_config_var("CC") or "cc").split()
    if shutil.which(compiler[0]) is None:
        return None
    command = [*compiler, "-print-file-name=liburing.a"]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return found if os.path.isabs(found) else None


def from_root(name: str) -> str:
    """A file of the core as setuptools wants it: relative to the root of the project."""
    return os.path.relpath(CORE / name, ROOT)


archive = static_liburing()

ffibuilder = FFI()
ffibuilder.cdef(declarations())
ffibuilder.set_source(
    "ringnet.uring._ring",
    '#include "ring.h"',
    sources=[from_root(name) for name in SOURCES],
    depends=[from_root(name) for name in HEADERS],
    include_dirs=[from_root(".")],
    libraries=[] if archive else ["uring"],
    extra_objects=[archive] if archive else [],
    # What is visible outside may be replaced there, so the compiler would not inline it.
    extra_compile_args=["-std=gnu11", "-O2", "-fvisibility=hidden", "-Wall", "-Wextra"],
    optional=True,
)
