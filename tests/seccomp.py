"""Refuse io_uring, as container runtimes do: `python seccomp.py ACTION PROGRAM ...`.

ACTION is the name of an errno, or `kill`. A seccomp filter (seccomp(2)) is put in force and the
Python program is run under it.
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
FIRST, BEHIND = 425, 428  # io_uring_setup, _enter and _register, on every architecture


def install(action: int) -> None:
    """Answer every io_uring system call of this process and its children with `action`."""
    program = b"".join(
        struct.pack("HBBI", *instruction)
        for instruction in (
            (LOAD, 0, 0, 0),  # the number of the system call
            (AT_LEAST, 0, 2, FIRST),
            (AT_LEAST, 1, 0, BEHIND),
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
    what = sys.argv[1]
    install(KILL_PROCESS if what == "kill" else RETURN_ERRNO | getattr(errno, what))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
