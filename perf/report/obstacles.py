"""What stands in the way of the targets that are missed, by the profiles of the published run.

The key is the scenario and the peer that the target compares with (`echo-64 gnet`), with the backend
in between where it is not io_uring (`echo-64 epoll asyncio`); or the scenario alone, for all of its
targets that have no entry of their own. `idle-memory bytes` has no peer, and
`connections-500 limit` and `connections-5000 limit` compare with 50 connections. Targets with the
same text share a number in the report.

Shares are of the server's CPU time. After a new run, look at each text again.
"""

from __future__ import annotations

_ECHO_LIMIT = "The kernel takes 83 to 91 % of the CPU time, as much a message as the bare C server uses in all. 1.10 of that would leave about half of what user space, above all the interpreter, takes now. Taking the event apart, three calls, two thread checks and one slice are three quarters of that half ([where a message's time goes](../perf/NOTEBOOK.md#where-a-messages-time-goes))."
_ECHO_GNET = "Sending, receiving, copying and waking, all in the kernel, take 82 to 83 % of gnet's CPU time. They cost ours 59 % of gnet's time, so 1.4 leaves 12 to 13 % for everything else, which takes 19 to 20 %: 7 % is io_uring's own part of the kernel, 10 to 12 % the interpreter."
_ECHO_UVLOOP = "Sending, receiving, copying and waking, all in the kernel, cost ours 57 to 58 % of uvloop's CPU time, and more where the two CPUs share no cache. 1.4 leaves 13 to 14 % for everything else, which takes 19 %: 7 % is io_uring's own part of the kernel, 9 to 11 % the interpreter."
_ECHO_ASYNCIO = "73 to 81 % of asyncio's CPU time is the kernel's, for the same calls as ours: one recv and one send a message. If these cost ours as much, 1.2 would leave our user space 2 to 10 % of asyncio's time; asyncio's own user space takes 19 to 27 %."
_SINK = "90 to 98 % of the CPU time is the kernel's: up to 46 % is the copy out of the socket (gnet: 27 %; uvloop: 22 to 29 %, and 14 % for a copy of its own), 37 to 42 % the rest of the receive path. The interpreter takes 1.5 to 8 %. The load generator uses 96 to 100 % of its CPU, so this compares the flow control between two busy CPUs, and the order changes from run to run."
_SOURCE = "91 % of the CPU time is the kernel's, a little more than the C server uses in all: the copy to the socket, and waking the peer's CPU. The interpreter takes 8 %, most of it because each block of 256 KiB has emptied its caches."
_LARGE = "80 to 82 % of the CPU time is the kernel's (gnet: 95 to 98 %), 9 % is the copy into the `bytes` that the handler owns, which a server in C or Go does not make, and 7 % the interpreter."
_PIPELINED = "85 to 90 % of the CPU time is the kernel's, as much as the C server uses in all; 8 to 12 % is the interpreter's, which is two thirds of what ours needs more. 16 messages are one `bytes` object already, so nothing is left to share between them."
_DATAGRAMS = "uvloop itself uses only 1.4 to 2.2 times the CPU time of the bare C servers: for every server a datagram is a receive and a send in the kernel. 43 to 70 % of ours is the kernel's, the rest is 254 bytecodes and the core. Nothing that calls a handler in Python can reach twice uvloop here."
_CHURN = "76 % of the CPU time is the kernel's: 48 % accept and close, 18 % sending; 22 % is Python's and 1 % the core's. The C servers, which have neither, use 67 to 88 % of uvloop's CPU time, where 1.3 is 77 %; and the load generator uses up to all of its CPU whichever server runs."
_HTTP = "The kernel's part of ours is 53 % of uvloop's CPU time, and httptools' part 4 %. 1.5 leaves 10 % for everything else; the interpreter takes 18 % ([where a request's time goes](../perf/NOTEBOOK.md#where-a-requests-time-goes))."
_HTTP_16 = "41 % of the CPU time is the interpreter's, 22 % httptools'. The kernel's part is six tenths of gnet's, but gnet's own code takes half of what interpreter and parser take together ([where a request's time goes](../perf/NOTEBOOK.md#where-a-requests-time-goes))."
_REDIS = "87 to 96 % of redis-server's CPU time is the kernel's. The kernel's part of ours is 67 to 71 % of redis-server's time, the interpreter's 30 %, hiredis and the rest 4 to 6 %. That was measured with hiredis as the parser; the parser that the example has now costs 0.7 to 1.0 us a command more."
_REDIS_16 = "63 % of the CPU time with GET and 55 % with SET is the interpreter's (uvloop: 37 and 34 %). The example looks each command up in a table, counts its words and holds a lock; the peers know GET and SET only, and take two thirds of the time for it ([where a request's time goes](../perf/NOTEBOOK.md#where-a-requests-time-goes))."
_TAIL = "Half of the load is too little to keep a CPU awake: p99.9 is the time that this virtual machine takes to run a process that was woken. In the same run the bare C servers reach 0.7 to 2.6 of gnet's, and the spread of most servers is a fifth to a half of the value."
_MANY = "The ratio with 50 connections comes from one run, in which the C server's figure has a spread of up to 22 %. In a run of all three, interleaved, it was 0.85 with 50, 0.87 with 500 and 0.86 with 5,000."
_IDLE = "gnet's own figure varies by 10 % from run to run, with the state of Go's heap. Half of ours is the connection object; the rest is its handle, the entries in two tables, and the 112 bytes of the core."
OBSTACLES = {
    "echo-64 limit-uring": _ECHO_LIMIT,
    "echo-1k limit-uring": _ECHO_LIMIT,
    "echo-64 uvloop": _ECHO_UVLOOP,
    "echo-64 gnet": _ECHO_GNET,
    "echo-1k uvloop": _ECHO_UVLOOP,
    "echo-1k gnet": _ECHO_GNET,
    "echo-64 epoll asyncio": _ECHO_ASYNCIO,
    "echo-1k epoll asyncio": _ECHO_ASYNCIO,
    "pipelined": _PIPELINED,
    "echo-64k": _LARGE,
    "echo-1m": _LARGE,
    "sink": _SINK,
    "source": _SOURCE,
    "udp-64 uvloop": _DATAGRAMS,
    "udp-1400 uvloop": _DATAGRAMS,
    "churn": _CHURN,
    "idle-memory gnet": _IDLE,
    "http": _HTTP,
    "http-p16": _HTTP_16,
    "redis-get redis-server": _REDIS,
    "redis-set redis-server": _REDIS,
    "redis-get-p16": _REDIS_16,
    "redis-set-p16": _REDIS_16,
    "open-loop": _TAIL,
    "connections-500 limit": _MANY,
    "connections-5000 limit": _MANY,
}


def obstacle(key: str) -> str:
    """The text of a target; empty where none is known."""
    return OBSTACLES.get(key) or OBSTACLES.get(key.partition(" ")[0], "")
