"""The completion contract: what every backend guarantees, and all that the engine may rely on.

A backend performs operations on descriptors and reports their results as events. It knows nothing
of connections, handlers, timers or logs. `uring/` and `fallback/` implement it structurally; the
vocabulary (event kinds, close modes, masks) is that of `completion.py`.

The rules

1. A backend is created and used on one thread. Only `wake()` may be called from others.
2. A method that starts or changes an operation (a verb) only enqueues it. It does no I/O, raises no
   network error and makes no callback. It takes effect in the next `turn()`, in the order of the
   calls; the results are events.
3. A handle is used once: `listen`, `adopt`, `adopt_packets`, `connect` or `poll` starts it, one
   final event ends it. That event is CLOSED, and nothing follows it; for `poll` it is READY, or
   CLOSED if the poll was closed first. After its final event the index may be reused with another
   generation. Verbs for a handle that is not alive (including past generations) do nothing.
4. The events of a handle come in the order in which they happened. For a stream: CONNECTED (after
   `connect`), then DATA in the order of the bytes, then at most one EOF, at most one ERROR, then
   CLOSED. After EOF or ERROR there is no more DATA; after ERROR only CLOSED. A reset after the
   peer's end is an ERROR too, even if nothing is being read or sent; while reading is paused it is
   not detected. (select checks for it twice a second, since the system does not report it there.)
5. ERROR does not end a handle, `close()` does: the caller answers ERROR with `close()`.
6. From the first turn after `close()` on, the handle only gives SHUT (at most once, and only if the
   close is graceful and has to linger) and CLOSED. Data that arrives is read and dropped. A
   listener closed with GRACEFUL may still give ACCEPTED, for connections that the system had
   accepted already.
7. `memory[a : a + b]` of a DATA event is valid until the next `turn()` begins. Slicing the memory
   gives `bytes`, which are the caller's own.
8. `send()` takes any number of bytes if nothing is staged, and otherwise as many as keep
   `staged[index]` within `stage_bytes`; in addition, any number of pieces of REFERRED_FROM bytes or
   more. Small pieces are copied and large ones kept by reference; since `bytes` are immutable, the
   caller need not care which. Short writes, full sockets and interrupted calls are handled by the
   backend: it continues until everything is sent or the stream breaks. `staged[index]` is what was
   accepted and is not sent yet, `sent[index]` what the kernel has taken since the handle began;
   both are exact between turns, and 0 from CLOSED until the index is reused. Small consecutive
   pieces for one handle in one turn are sent together.
9. No turn returns more than `Bounds.events` events; the rest come with the next turn. What is
   handled without an event (dropped bytes, repeated requests) keeps no receive memory, and is
   repeated only a bounded number of times before the turn returns, if need be without any event.
10. A listener that runs out of descriptors or memory, or that a security module refuses (EPERM),
    reports STALLED once and rests until `resume()`. A connection that was aborted before it was
    accepted is skipped.
11. A socket that keeps message boundaries (`adopt_packets`) gives DATAGRAM for each packet, even an
    empty one: the sender's sockaddr is `memory[a : a + (b >> 32)]`, and the bytes are the
    `b & 0xffffffff` from `a + NAME_ROOM` on. If the socket reports local addresses
    (`sockaddr.ask_for_local`), the sockaddr at `a + LOCAL_AT` is the one that the packet was sent
    to, with port 0, or with family 0 if it is unknown; and the address of `send_to` may be followed
    by such a sockaddr, which is then the packet's source. A packet that does not fit into a buffer
    is dropped and reported as TRUNCATED. A packet that cannot be sent is dropped and reported as
    REFUSED with its size; so is an error for an earlier packet (size 0). Only a connection of
    packets (SOCK_SEQPACKET) breaks in that case, with ERROR; an empty packet is its EOF. `staged`
    and `sent` do not count packets that were REFUSED. A packet is sent as a whole: one that the
    system took in part counts as not sent (EIO), and none has more than 1 GiB (EMSGSIZE). Packets
    are sent in the order of the calls; only UDP datagrams may be overtaken by later ones when the
    socket is full, as they may in the network.
12. If a socket of packets or its peer is full, the packets wait until there is room. An unconnected
    Unix socket is different, since it polls writable as long as any receiver has room: a packet for
    a full receiver waits in a line for that address, and only packets to the same address wait
    behind it. The heads of the lines are tried again every RETRY_PERIOD, a bounded number of them,
    and a turn never spins for them. A line has at most `Bounds.line_packets`, and all lines of a
    socket at most `Bounds.line_bytes`; a packet beyond that is REFUSED with -EAGAIN.
13. A turn need not report everything that has happened by then: it may have no room for the event
    or no buffer for the bytes, and the caller may have been busy for a long time since. So the
    absence of an event does not mean that a peer is silent: code that enforces a time limit checks
    `pending` first, between two turns and after all events of the last one. The check has no
    effect, and what it reports comes with the following turns, as long as reading is not paused.
14. Verbs never block, and a turn waits for nothing but its events and its timeout. Descriptors may
    be in any mode: the non-blocking flag is shared by all users of a socket, so a backend relies on
    the flags of each call; it may make a descriptor non-blocking, but never blocking. Before a
    descriptor is closed, SO_LINGER with a time is disabled, since close(2) would block (the kernel
    continues to send by itself); without a time it stays, and resets. A close with NOW or RESET
    reaches the peer even if another process, such as a forked child, has the descriptor; a close
    with LEAVE does not.
15. A caller's mistake affects at most its own handle. Anything but `bytes` raises TypeError at the
    verb, an index that is in use or out of range ValueError; an invalid address or descriptor gives
    ERROR for the handle, or REFUSED for a packet. After `dispose()`, `wake()` does nothing, and the
    memory can still be accessed, but is empty.
16. Memory may run out at any step. If it is short for one handle, that handle gives ERROR with
    ENOMEM (a listener STALLED; an incoming datagram is lost, and a packet that cannot be kept is
    REFUSED, if there is memory to report it), and the others continue. A turn that raises
    MemoryError has lost nothing and may be called again: what was enqueued and what has happened
    come with the next one. If iterating over a turn's events raises it, `rest`, if the backend has
    such a method, returns the remaining events, beginning with the one that could not be created.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from ...completion import Event


class Memory(Protocol):
    """Receive memory. Slicing it returns a copy, as `bytes`."""

    def __getitem__(self, index: slice, /) -> bytes: ...


class Counters(Protocol):
    """A flat array of integers, one per index."""

    def __getitem__(self, index: int, /) -> int: ...


@runtime_checkable
class Backend(Protocol):
    """One completion queue. See the rules at the top of this file."""

    @property
    def name(self) -> str:
        """`io_uring`, `epoll`, `kqueue` or `select`."""

    @property
    def capacity(self) -> int:
        """How many handles may be alive at once: `Bounds.slots`, or what the system allows."""

    @property
    def nonblocking(self) -> bool:
        """Whether descriptors of ACCEPTED are non-blocking. Those passed in may be either."""

    @property
    def memory(self) -> Memory:
        """The memory that DATA events refer to."""

    @property
    def staged(self) -> Counters:
        """For each index, the bytes accepted by `send` and not sent yet."""

    @property
    def outbox(self) -> tuple[list[int], list[bytes]]:
        """`send` without a call: append a handle to the first list and bytes to the second.

        The lists stay the same objects, and equally long: if the second append fails, the first has
        to be undone. Each verb first processes what is in them and empties them.
        """

    @property
    def sent(self) -> Counters:
        """For each index, the bytes of its handle that the kernel has taken so far."""

    def listen(self, handle: int, fd: int) -> None:
        """Accept from a listening stream socket: ACCEPTED for each, CLOSED after `close`."""

    def adopt(self, handle: int, fd: int) -> None:
        """Take over a connected stream socket and read from it. `close` closes the descriptor."""

    def adopt_packets(self, handle: int, fd: int) -> None:
        """Take over a socket of packets: datagrams, bound or connected, or SOCK_SEQPACKET."""

    def connect(self, handle: int, fd: int, address: bytes) -> None:
        """Take over a stream socket and connect it to a packed `struct sockaddr`.

        Gives CONNECTED, and continues as after `adopt`; or ERROR.
        """

    def send(self, handle: int, data: bytes) -> None:
        """Send bytes after those sent before."""

    def send_to(self, handle: int, data: bytes, address: bytes = b"") -> None:
        """Send one packet, to a packed `struct sockaddr` if the socket is not connected.

        For IPv4 and IPv6, the sockaddr of the local address to send from may follow it.
        """

    def notify(self, handle: int) -> None:
        """Give DRAINED once, as soon as nothing is staged (in the next turn if nothing is now)."""

    def pause(self, handle: int) -> None:
        """Stop reading (or accepting) until `resume`. What was read already is still delivered."""

    def resume(self, handle: int) -> None:
        """Read (or accept) again after `pause` or STALLED."""

    def shutdown(self, handle: int) -> None:
        """End our side after everything staged: SHUT. Reading continues."""

    def close(self, handle: int, mode: int) -> None:
        """End the handle: GRACEFUL, NOW, RESET or LEAVE (see `completion.py`). CLOSED follows.

        GRACEFUL sends what is staged and ends our side. If the peer has ended its side by then,
        the descriptor is closed; otherwise SHUT is reported and arriving bytes are dropped until
        the peer's end, an error, or `close(handle, NOW)`. A second, harder `close` replaces a
        softer one. For a poll the mode does not matter, and its descriptor stays open.
        """

    def poll(self, handle: int, fd: int, mask: int) -> None:
        """Give READY once when any of `mask` holds for a descriptor, which stays the caller's.

        An error or a hang-up gives READY too, but the peer's end alone does not.
        """

    def pending(self, handle: int) -> int:
        """What has happened to a stream or packets that no turn has reported yet: see rule 13.

        READABLE: bytes, or the peer's end. WRITABLE: room for what is staged, or the result of
        `connect`. HUNG_UP: the peer has ended its side or is gone, so that nothing will arrive
        beyond what the system has; also for a paused stream, as far as the system reports it.
        It costs a system call. 0 if the handle is not alive.
        """

    def turn(self, timeout: float | None) -> Iterable[Event]:
        """Start what was enqueued, and wait for events at most `timeout` seconds (None: no limit).

        Returns as soon as there is an event; may return none before the time is over.
        Raises OSError when the backend itself has failed; then only `dispose` may be called.
        """

    def wake(self) -> None:
        """Make the current or the next `turn` return with WOKEN. From any thread."""

    def wake_other(self, other: Backend) -> None:
        """Wake a backend of another thread, which may take until the end of the next turn.

        On this backend's own thread. A failure is reported as REFUSED with handle 0.
        """

    def dispose(self) -> None:
        """Close every descriptor that it still owns and free everything. No turn may follow."""
