"""What stands in the way of targets that are not met, as the profiles show it: an entry for each.

The key is the scenario and whom the target compares with (`echo-64 gnet`), with the backend before
that where it is not io_uring (`echo-64 epoll asyncio`); or the scenario alone, for all of its
targets that have no entry of their own. Without a peer are `idle-memory bytes` and, against 50
connections, `connections-500 limit` and `connections-5000 limit`. Targets with the same text share
a number in the report.

Shares are of the server's CPU time. There are no absolute times here: those are of one machine.
"""

from __future__ import annotations

_ECHO_LIMIT = "The kernel takes 83 % of the CPU time, as much a message as the bare C server uses in all. 1.10 of that would leave user space, the interpreter above all, about half of what it takes now; taking the event apart, three calls, two thread checks and one slice are three quarters of that half ([where a message's time goes](../perf/README.md#where-a-messages-time-goes))."
_ECHO_GNET = "Sending, receiving, copying and waking, all of it in the kernel, are 83 % of gnet's CPU time. They cost ours a fifth less a message, which is 64 to 66 % of gnet's time, so that 1.4 leaves 5 to 7 % of that for all else; the interpreter alone takes 13 to 14 %."
_ECHO_UVLOOP = "Sending, receiving, copying and waking, all of it in the kernel, cost ours 50 to 57 % of uvloop's CPU time. 1.4 leaves 14 to 21 % of that for all else, and it takes 18 to 20 %, the interpreter 11 to 12 %: it is met in some runs."
_ECHO_ASYNCIO = "73 to 81 % of asyncio's CPU time is the kernel's, for the same calls as ours: a recv and a send a message. Were these as dear for ours, 1.2 would leave our user space 2 to 10 % of asyncio's time; asyncio's own user space takes 19 to 27 %."
OBSTACLES = {
    "echo-64 limit-uring": _ECHO_LIMIT,
    "echo-1k limit-uring": _ECHO_LIMIT,
    "echo-64 uvloop": _ECHO_UVLOOP,
    "echo-64 gnet": _ECHO_GNET,
    "echo-1k uvloop": _ECHO_UVLOOP,
    "echo-1k gnet": _ECHO_GNET,
    "echo-64 epoll asyncio": _ECHO_ASYNCIO,
    "echo-1k epoll asyncio": _ECHO_ASYNCIO,
}


def obstacle(key: str) -> str:
    """Of the target with this key; empty where it is not known."""
    return OBSTACLES.get(key) or OBSTACLES.get(key.partition(" ")[0], "")
