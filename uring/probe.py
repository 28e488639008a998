"""Can this machine run io_uring, and if not, why, and what helps?

The law of this file: it asks by trying. A ring is really made with the flags wanted; only where
that fails are files read to tell the causes apart. Importing this module makes no system call of
io_uring; calling `probe` does.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..completion import Bounds

SYSCTL = Path("/proc/sys/kernel/io_uring_disabled")
STATUS = Path("/proc/self/status")
PACKAGE = Path(__file__).resolve().parent.parent
OLDEST_KERNEL = "5.19"
CALLS = ("io_uring_setup", "io_uring_enter", "io_uring_register")  # as rn_probe numbers them

# Without these there is no backend; the others are used where they are there.
REQUIRED = (
    "ext_arg",
    "buffer_ring",
    "accept",
    "multishot_accept",
    "connect",
    "recv",
    "send",
    "recvmsg",
    "sendmsg",
    "cancel",
    "poll",
)


@dataclass(frozen=True, slots=True)
class Probe:
    """What was found. `remedy` is empty where nothing needs one."""

    available: bool
    # One word: ok, platform, extension, source, kernel, sysctl, seccomp, memlock, limit, other.
    cause: str
    reason: str
    remedy: str
    extension: str | None = None  # the path of the compiled core
    liburing: str | None = None
    features: dict[str, bool] = field(default_factory=dict)


def probe() -> Probe:
    """Try what the io_uring backend needs. Any thread; about a millisecond."""
    if not sys.platform.startswith("linux"):
        return _no("platform", f"io_uring is a part of Linux, this is {platform.system()}", "")
    try:
        from . import _ring
    except ImportError as error:
        return _no_extension(error)
    return _try_ring(_ring)


def _no(cause: str, reason: str, remedy: str, **found: Any) -> Probe:
    return Probe(False, cause, reason, remedy, **found)


def _no_extension(error: ImportError) -> Probe:
    if error.name in ("cffi", "_cffi_backend"):
        return _no("extension", "the package cffi is missing", "pip install cffi")
    if any(Path(__file__).parent.glob("_ring*.so")):
        reason = f"the compiled core cannot be loaded: {error}"
        return _no("extension", reason, "install ringnet again with this Python")
    if (PACKAGE / "pyproject.toml").exists():
        return _no("source", *_explain_source_tree())
    missing, package = _what_the_build_lacked()
    return _no(
        "extension",
        f"the C core was not built when ringnet was installed: {missing}",
        f"apt-get install {package} (or your system's like), then install ringnet again",
    )


def _explain_source_tree() -> tuple[str, str]:
    """(reason, remedy) where a checkout was imported, which may hide what is installed."""
    reason = f"ringnet was imported from a source tree that was not built: {PACKAGE}"
    build = f"build it there with `pip install -e {PACKAGE}`"
    built = [path for path in _others() if any((path / "uring").glob("_ring*.so"))]
    if not built:
        return reason, build
    reason += f", which hides the installed package in {built[0]}"
    return reason, f"start Python in another directory than {PACKAGE.parent}, or {build}"


def _others() -> list[Path]:
    """Packages of the same name that would be found if this one were not."""
    found = [Path(entry or ".", PACKAGE.name).resolve() for entry in sys.path]
    return [path for path in found if path != PACKAGE and (path / "uring").is_dir()]


def _what_the_build_lacked() -> tuple[str, str]:
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        return "there is no C compiler", "gcc libc6-dev liburing-dev python3-dev"
    if not any(Path(d, "liburing.h").exists() for d in ("/usr/include", "/usr/local/include")):
        return "liburing.h is missing", "liburing-dev"
    return "the compilation failed, and the installer's log says why", "liburing-dev python3-dev"


def _try_ring(ring: Any) -> Probe:
    lib, ffi = ring.lib, ring.ffi
    found: dict[str, Any] = {
        "extension": ring.__file__,
        "liburing": ffi.string(lib.rn_liburing_version()).decode(),
    }
    flags = ffi.new("int32_t[]", lib.RN_FEATURES)
    call = ffi.new("int32_t *")
    result = lib.rn_probe(flags, call)
    if result < 0:
        return _no(*_explain(-result, CALLS[call[0]]), **found)
    features = {_feature_name(n): bool(flags[getattr(lib, n)]) for n in _feature_names(lib)}
    found["features"] = features
    missing = [name for name in REQUIRED if not features[name]]
    if missing:
        reason = f"kernel {platform.release()} lacks {', '.join(missing)}"
        return _no("kernel", reason, f"run Linux {OLDEST_KERNEL} or newer", **found)
    return Probe(True, "ok", _summary(features), "", **found)


def try_rings(found: Probe, bounds: Bounds, count: int) -> Probe:
    """`found`, or why so many rings of that size cannot be had at once. On the calling thread."""
    from .backend import UringBackend

    rings: list[UringBackend] = []
    try:
        rings.extend(UringBackend(bounds) for _ in range(count))
    except OSError as error:
        cause, reason, remedy = explain_ring(error, len(rings), count)
        return replace(found, available=False, cause=cause, reason=reason, remedy=remedy)
    finally:
        for ring in rings:
            ring.dispose()
    return found


def explain_ring(error: OSError, made: int = 0, wanted: int = 1) -> tuple[str, str, str]:
    """(cause, reason, remedy) of a ring that could not be made, when some had been."""
    cause, reason, remedy = _explain(error.errno or 0)
    if wanted > 1:
        reason += f", after {made} of {wanted} rings: one for each reactor"
        remedy += ", or take fewer reactors"
    return cause, reason, remedy


def _feature_names(lib: Any) -> list[str]:
    return [name for name in dir(lib) if name.startswith("RN_HAS_")]


def _feature_name(constant: str) -> str:
    return constant.removeprefix("RN_HAS_").lower()


def _summary(features: dict[str, bool]) -> str:
    if features["defer_taskrun"]:
        return f"kernel {platform.release()} has all of it"
    return f"kernel {platform.release()} has what is needed, without DEFER_TASKRUN (Linux 6.1)"


def _explain(number: int, call: str = CALLS[0]) -> tuple[str, str, str]:
    """(cause, reason, remedy) of a ring that could not be made, or not be used."""
    by_errno: dict[int, Callable[[], tuple[str, str, str]]] = {
        errno.EPERM: lambda: _explain_refusal("EPERM", call),
        errno.EACCES: lambda: _explain_refusal("EACCES", call),
        errno.ENOSYS: lambda: _explain_absence(call),
        errno.ENOMEM: lambda: (
            "memlock",
            f"no memory may be locked for a ring (ENOMEM; the limit is {_memlock()})",
            "raise `ulimit -l` (RLIMIT_MEMLOCK, which all rings of a user share), or the memory "
            "limit of the container",
        ),
        errno.EMFILE: lambda: (
            "limit",
            "the process has no free descriptor (EMFILE)",
            "raise `ulimit -n`",
        ),
    }
    known = by_errno.get(number)
    if known is not None:
        return known()
    name = errno.errorcode.get(number, str(number))
    return "other", f"{call} failed with {name}: {os.strerror(number)}", ""


def _memlock() -> str:
    import resource  # not on every system that imports this

    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return "none" if soft == resource.RLIM_INFINITY else f"{soft // 1024} KiB"


def _explain_refusal(name: str, call: str) -> tuple[str, str, str]:
    setting = _sysctl()
    if setting in (1, 2) and call == CALLS[0]:
        who = "everybody" if setting == 2 else "processes outside kernel.io_uring_group"
        return (
            "sysctl",
            f"kernel.io_uring_disabled is {setting}: io_uring is off for {who}",
            "sysctl -w kernel.io_uring_disabled=0"
            + ("" if setting == 2 else ", or join the group of kernel.io_uring_group"),
        )
    if _is_filtered():
        return _seccomp(name, call)
    return (
        "other",
        f"the system refuses {call} with {name}, without a sysctl or a seccomp filter",
        "look for a security module (SELinux, AppArmor, a BPF policy) that forbids it",
    )


def _explain_absence(call: str) -> tuple[str, str, str]:
    if _is_filtered() and _kernel() >= (5, 1):
        return _seccomp("ENOSYS", call)
    return (
        "kernel",
        f"kernel {platform.release()} has no io_uring (ENOSYS)",
        f"run Linux {OLDEST_KERNEL} or newer, with CONFIG_IO_URING",
    )


def _seccomp(name: str, call: str) -> tuple[str, str, str]:
    return (
        "seccomp",
        f"a seccomp filter refuses {call} with {name}, as container runtimes do",
        "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile "
        "of the container",
    )


def _sysctl() -> int | None:
    try:
        return int(SYSCTL.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _is_filtered() -> bool:
    """Whether a seccomp filter is in force: mode 2 in proc(5)."""
    try:
        status = STATUS.read_text(encoding="utf-8")
    except OSError:
        return False
    return re.search(r"^Seccomp:\s*2$", status, re.MULTILINE) is not None


def _kernel() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)
