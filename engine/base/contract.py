"""The completion contract: what every backend keeps, and all that the engine may rely on.

A backend performs operations on descriptors and reports their results as events. It knows no
connections, handlers, timers or logs. `uring/` and `fallback/` implement it structurally; the
words (event kinds, close modes, masks) are those of `completion.py`.

The rules

1. A backend is created and used on one thread. Only `wake()` may be called from others.
2. Every verb only enqueues. It does no I/O, raises no network error and calls nothing back. It
   takes effect in the next `turn()`, in the order of the calls; the results are events.
3. A handle is used once: `listen`, `adopt`, `adopt_packets`, `connect` or `poll` starts it, one
   final event ends it. That event is CLOSED, and nothing follows it; for `poll` it is READY, or
   CLOSED if the poll was closed first. After its final event the index may be used again with
   another generation. Verbs for a handle that is not alive (also of a past generation) do nothing.
4. The events of a handle come in the order in which they happened. Of a stream: CONNECTED (after
   `connect`), then DATA in the order of the bytes, then at most one EOF, at most one ERROR, then
   CLOSED. After EOF or ERROR there is no more DATA; after ERROR only CLOSED. A reset behind the
   peer's end is an ERROR too, though nothing is read or sent; while reading is paused it is not
   looked for. (select looks for it twice a second, as it cannot be told of it.)
5. ERROR does not end a handle, `close()` does. Whoever got ERROR calls `close()`.
6. From the first turn after `close()` on, the handle only gives SHUT (at most once, and only where
   the close is graceful and has to linger) and CLOSED. Data that arrives is read and dropped. A
   listener closed with GRACEFUL may still say ACCEPTED, for those whom the system had accepted.
7. `memory[a : a + b]` of a DATA event is valid until the next `turn()` begins. Slicing the memory
   gives `bytes`, which are the caller's own.
8. `send()` takes any number of bytes where nothing is staged, and otherwise what keeps
   `staged[index]` within `stage_bytes`; besides any piece of REFERRED_FROM bytes or more, as many
   as the caller sees fit. It copies what is small and refers to what is large; the
   `bytes` object may not be changed, so it never matters which. A short write, a full socket and
   an interrupted call are the backend's business: it goes on until all is sent or the stream
   breaks. `staged[index]` is what is accepted and not yet sent, `sent[index]` what the kernel has
   taken since the handle began; both are true between turns, and 0 from CLOSED until the index is
   used again. What is sent in one turn for a handle in a row goes out together, if
   it is small.
9. No turn returns more than `Bounds.events` events; what is left comes with the next. What is
   settled without an event (bytes that are dropped, requests that are made again) holds no receive
   memory, and goes round no more than a bounded number of times before the turn returns, if need be
   with no event.
10. A listener that runs out of descriptors or memory, or that a security module refuses (EPERM),
    says STALLED once and rests until `resume()`.
    A newcomer that went away before it was accepted is passed over.
11. A socket that keeps message boundaries (`adopt_packets`) gives DATAGRAM for each packet, also an
    empty one: its sender's sockaddr is `memory[a : a + (b >> 32)]`, its bytes are the
    `b & 0xffffffff` behind `a + NAME_ROOM`. Where the socket was made to tell local addresses
    (`sockaddr.ask_for_local`), that which was asked is the sockaddr at `a + LOCAL_AT`, of port 0,
    or of family 0 where it is not known; and the address of `send_to` may be followed by such a
    one, from which the packet leaves. One that does not fit into a buffer is dropped and said
    as TRUNCATED. One that cannot be sent is dropped and said as REFUSED with its size, as is an
    error that came back for an earlier one (size 0); only a connection of packets (SOCK_SEQPACKET)
    breaks by it, with ERROR. Its empty packet is the end, EOF. `staged` and `sent` count no packet
    that was REFUSED. A packet leaves whole: one that the system took in part was not sent (EIO),
    and none has more than 1 GiB (EMSGSIZE). Packets leave in the order of the calls; only datagrams
    of UDP may be passed by later ones where one finds the socket full, as they may in the network.
12. A socket of packets that is full, or whose peer is, waits for room, and its packets with it. An
    unconnected Unix socket is different, for it polls writable as long as one receiver may have
    room: a packet whose receiver is full waits in a line of its own address, and only what goes to
    the same address waits behind it. Heads of lines are tried again each RETRY_PERIOD, a bounded
    number of them, and a turn never spins for them. A line holds at most `Bounds.line_packets`,
    all lines of a socket `Bounds.line_bytes`; a packet beyond is REFUSED with -EAGAIN.
13. A turn need not tell all that has happened by then: it may have no room for the event or no
    buffer for the bytes, and the caller may have been busy for long since. So nobody is silent
    because no event came: whoever enforces a time limit asks `pending` first, between two turns and
    after all events of the last. It has no effect, and what it tells comes with the turns that
    follow, as long as reading is not paused.
14. No verb and no turn waits but for its events and its time. Descriptors may be in any mode:
    whether one is non-blocking belongs to all who share it, so a backend relies on the flags of
    each call; at most it makes one non-blocking, never blocking. Before a descriptor is closed,
    SO_LINGER with a time is turned off, since close(2) would wait (the kernel goes on sending by
    itself); without a time it stays, and resets. A close with NOW or RESET reaches the peer also
    where another process, such as a forked child, has the descriptor; one with LEAVE does not.
15. What a caller gets wrong costs its own handle at most. What is no `bytes` raises TypeError at
    the verb, an index in use or out of range ValueError; an address or a descriptor that is none
    is the handle's ERROR, or REFUSED for a packet. After `dispose()`, `wake()` does nothing, and
    the memory may still be looked at, though nothing is in it.
16. Memory may run out at any step. Where it is short for one handle, that handle gives ERROR with
    ENOMEM (a listener STALLED; a datagram that arrives is lost, and a packet that cannot be kept is
    REFUSED, if there is memory to say so), and the others go on. A turn that raises
    MemoryError has lost nothing and may be called again: what was enqueued and what has happened
    come with the next. Where iterating over a turn's events raises it, `rest`, if the backend has
    such a method, gives those that are left, from the one that could not be made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from ...completion import Event


class Memory(Protocol):
    """Receive memory. A slice of it is a copy, as `bytes`."""

    def __getitem__(self, index: slice, /) -> bytes: ...


class Counters(Protocol):
    """A flat array of integers, one for each index."""

    def __getitem__(self, index: int, /) -> int: ...


@runtime_checkable
class Backend(Protocol):
    """One completion queue. See the rules at the top of this file."""

    @property
    def name(self) -> str:
        """`io_uring`, `epoll`, `kqueue` or `select`."""

    @property
    def capacity(self) -> int:
        """How many handles may be alive at once: `Bounds.slots`, or less where the system says."""

    @property
    def nonblocking(self) -> bool:
        """Whether descriptors of ACCEPTED are non-blocking. Those it is given may be either."""

    @property
    def memory(self) -> Memory:
        """Where the bytes of DATA events are."""

    @property
    def staged(self) -> Counters:
        """For each index the bytes accepted by `send` and not yet sent."""

    @property
    def outbox(self) -> tuple[list[int], list[bytes]]:
        """`send` without a call: who appends a handle to one list and bytes to the other has sent.

        The lists stay the same objects. A verb comes after what is in them, and empties them.
        """

    @property
    def sent(self) -> Counters:
        """For each index the bytes of its handle that the kernel has taken so far."""

    def listen(self, handle: int, fd: int) -> None:
        """Accept from a listening stream socket: ACCEPTED for each, CLOSED after `close`."""

    def adopt(self, handle: int, fd: int) -> None:
        """Own a connected stream socket and read from it. `close` closes the descriptor."""

    def adopt_packets(self, handle: int, fd: int) -> None:
        """Own a socket of packets: datagrams, bound or connected, or SOCK_SEQPACKET."""

    def connect(self, handle: int, fd: int, address: bytes) -> None:
        """Connect a stream socket to a packed `struct sockaddr`; the descriptor is owned.

        CONNECTED, and from then on as after `adopt`; or ERROR.
        """

    def send(self, handle: int, data: bytes) -> None:
        """Send bytes after those sent before."""

    def send_to(self, handle: int, data: bytes, address: bytes = b"") -> None:
        """Send one packet, to a packed `struct sockaddr` where the socket is not connected.

        Of the internet, it may be followed by that of the local address to send from.
        """

    def notify(self, handle: int) -> None:
        """Say DRAINED once, as soon as nothing is staged (in the next turn if that is so now)."""

    def pause(self, handle: int) -> None:
        """Read (or accept) no more until `resume`. What was read already is still delivered."""

    def resume(self, handle: int) -> None:
        """Read (or accept) again after `pause` or STALLED."""

    def shutdown(self, handle: int) -> None:
        """End our side after all that is staged: SHUT. Reading goes on."""

    def close(self, handle: int, mode: int) -> None:
        """End the handle: GRACEFUL, NOW, RESET or LEAVE (see `completion.py`). CLOSED follows.

        GRACEFUL sends what is staged and ends our side. If the peer has ended its side by then,
        the descriptor is closed; else SHUT is said and arriving bytes are dropped until the
        peer's end, an error, or `close(handle, NOW)`. A second, harder `close` overtakes a softer
        one. For a poll the mode does not matter. The descriptor of a poll stays open.
        """

    def poll(self, handle: int, fd: int, mask: int) -> None:
        """Say READY once when any of `mask` holds for a descriptor, which stays the caller's.

        Also where it has failed or hung up; but the peer's end alone is none of that.
        """

    def pending(self, handle: int) -> int:
        """What has happened to a stream or packets that no turn has told yet: see rule 13.

        READABLE: bytes, or the peer's end. WRITABLE: room for what is staged, or the result of
        `connect`. HUNG_UP: the peer has ended its side or is gone, so that no more comes than the
        system has; of a stream that is paused, too, and as far as the system says so.
        A system call: for what is rarely asked. 0 where the handle is not alive.
        """

    def turn(self, timeout: float | None) -> Iterable[Event]:
        """Take up what was enqueued, wait for events at most `timeout` seconds (None: for ever).

        Returns as soon as there is an event; may return none before the time is over.
        Raises OSError when the backend itself has failed; then only `dispose` is left.
        """

    def wake(self) -> None:
        """Make the current or the next `turn` return with WOKEN. From any thread."""

    def wake_other(self, other: Backend) -> None:
        """Wake a backend of another thread, which may take until the end of the next turn.

        On this backend's own thread. Where it could not be done, REFUSED with handle 0 says so.
        """

    def dispose(self) -> None:
        """Close every descriptor still owned and free everything. No turn may follow."""
