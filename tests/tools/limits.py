"""Run a Python program as a user with small limits: `python limits.py MEMLOCK NOFILE PROGRAM ...`.

MEMLOCK is in KiB. What lifts it (CAP_IPC_LOCK, capabilities(7)) is given up for good.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PR_CAPBSET_DROP = 24
CAP_IPC_LOCK = 14

if __name__ == "__main__":
    memlock, nofile = int(sys.argv[1]) * 1024, int(sys.argv[2])
    if ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0):
        sys.exit("CAP_IPC_LOCK cannot be given up")
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
    resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
    os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
