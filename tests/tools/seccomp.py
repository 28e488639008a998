"""Refuse io_uring, as container runtimes do: `python seccomp.py ACTION PROGRAM ...`.

ACTION is the name of an errno, or `kill`; with `:setup`, `:enter` or `:register` behind it only
that call is refused, and with `:submit` only an io_uring_enter that does not look for completions.
A seccomp filter (seccomp(2)) is put in force and the Python program is run under it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
KILL_PROCESS = 0x80000000
RETURN_ERRNO = 0x00050000
ALLOW = 0x7FFF0000
LOAD, AT_LEAST, RETURN = 0x20, 0x35, 0x06  # BPF: ld [k], jge k, ret k
ANY_BIT = 0x45  # jset k
FLAGS_AT = 40  # of the fourth argument in struct seccomp_data
GETEVENTS = 1
# io_uring_setup, _enter and _register, on every architecture: the first, and behind the last
CALLS = {"": (425, 428), "setup": (425, 426), "enter": (426, 427), "register": (427, 428)}


def install(action: int, only: str = "") -> None:
    """Answer every io_uring system call of this process and its children with `action`."""
    first, behind = CALLS["enter" if only == "submit" else only]
    looks = ((LOAD, 0, 0, FLAGS_AT), (ANY_BIT, 1, 0, GETEVENTS)) if only == "submit" else ()
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (LOAD, 0, 0, 0),  # the number of the system call
            (AT_LEAST, 0, 2 + len(looks), first),
            (AT_LEAST, 1 + len(looks), 0, behind),
            *looks,
            (RETURN, 0, 0, action),
            (RETURN, 0, 0, ALLOW),
        )
    )
    memory = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the seccomp filter was not taken")


if __name__ == "__main__":
    what, _, only = sys.argv[1].partition(":")
    install(KILL_PROCESS if what == "kill" else RETURN_ERRNO | getattr(errno, what), only)
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
