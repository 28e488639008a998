"""A backend without a kernel: the completion contract on peers, time and luck made from a seed.

Nothing here asks the real clock or a real socket (descriptors are real, so that a lost one shows).
In each turn luck decides who is served, how much of a read or a write happens, which handles come
first, and what fails. The contract itself is written in `engine/base/contract.py`.
"""

from __future__ import annotations

import errno
import os
import random
from collections import deque
from collections.abc import Iterable
from typing import Any

from ringnet.completion import (
    ACCEPTED,
    CLOSED,
    CONNECTED,
    DATA,
    DRAINED,
    EOF,
    ERROR,
    GRACEFUL,
    HUNG_UP,
    INDEX_MASK,
    READABLE,
    REFERRED_FROM,
    RESET,
    SHUT,
    STALLED,
    WOKEN,
    WRITABLE,
    Bounds,
    Event,
)
from simulated_peer import Clock, Peer


class Memory:
    """Where the bytes of a turn are; the next turn overwrites them."""

    def __init__(self) -> None:
        self.bytes = bytearray()

    def __getitem__(self, index: slice) -> bytes:
        return bytes(self.bytes[index])

    def put(self, data: bytes) -> int:
        self.bytes += data
        return len(self.bytes) - len(data)


class Slot:
    def __init__(self, handle: int, fd: int, peer: Peer | None) -> None:
        self.handle = handle
        self.index = handle & INDEX_MASK
        self.fd = fd
        self.peer = peer  # None: a listener
        self.connecting = self.is_attempt = False
        self.phase = "open"  # flushing, lingering, closing
        self.stage = bytearray()
        self.paused = self.notify = self.fin = self.fin_said = False
        self.eof_said = self.broken = False
        self.error = 0
        self.reset = False
        self.quiet_at: float | None = None  # when the last completion of a closing one comes


class SimulatedBackend:
    """One thread, one seed."""

    name = "simulated"
    nonblocking = True

    def __init__(self, bounds: Bounds, chance: random.Random, clock: Clock, newcomers: int) -> None:
        self.capacity = bounds.slots
        self.bounds = bounds
        self.chance = chance
        self.clock = clock
        self.outbox: tuple[list[int], list[bytes]] = ([], [])
        self.staged = [0] * 4096
        self.sent = [0] * 4096
        self.memory = Memory()
        self.peers: list[Peer] = []
        self.slots: dict[int, Slot] = {}
        self._commands: list[tuple[Any, ...]] = []
        self._woken = False
        self._events: list[Event] = []
        self._newcomers = sorted(
            clock.now + chance.choice([0.0, 0.1, 5.0]) for _ in range(newcomers)
        )
        self._stalls = chance.randrange(3)
        self._fails_at = clock.now + chance.choice([0.1, 3.0] if chance.random() < 0.1 else [1e9])
        self.has_failed = False
        self.left = 0
        self._null = os.open(os.devnull, os.O_RDONLY)

    # Verbs

    def _ask(self, verb: str, handle: int, *rest: Any) -> None:
        self._take_outbox()
        self._commands.append((verb, handle, *rest))

    def _take_outbox(self) -> None:
        for handle, data in zip(*self.outbox, strict=True):
            assert type(data) is bytes
            self._commands.append(("send", handle, data))
        for part in self.outbox:
            part.clear()

    def __getattr__(self, verb: str) -> Any:
        if verb in VERBS:
            return lambda handle, *rest: self._ask(verb, handle, *rest)
        raise AttributeError(verb)

    def pending(self, handle: int) -> int:
        slot = self.slots.get(handle)
        if slot is None or slot.peer is None:
            return 0
        peer = slot.peer
        comes = peer.said or peer.is_reset or (peer.has_ended and not slot.eof_said)
        room = peer.is_reset or len(peer.held) < peer.window
        ended = HUNG_UP if peer.has_ended or peer.is_reset else 0
        return (READABLE if comes else 0) | (WRITABLE if room else 0) | ended

    def wake(self) -> None:
        self._woken = True

    def _start(self, handle: int, fd: int, peer: Peer | None) -> Slot:
        slot = Slot(handle, fd, peer)
        assert all(other.index != slot.index for other in self.slots.values()), "in use"
        self.slots[handle] = slot
        self.staged[slot.index] = self.sent[slot.index] = 0
        return slot

    def _do(self, verb: str, handle: int, *rest: Any) -> None:
        if verb == "listen":
            self._start(handle, rest[0], None)
        elif verb == "adopt":
            self._start(handle, rest[0], self._waiting.popleft())
        elif verb == "connect":
            slot = self._start(handle, rest[0], self._new_peer())
            slot.connecting = slot.is_attempt = True
        elif handle in self.slots:
            getattr(self, f"_do_{verb}")(self.slots[handle], *rest)

    def _do_send(self, slot: Slot, data: bytes) -> None:
        if slot.phase == "open" and not slot.fin and not slot.broken:
            fits = len(slot.stage) + len(data) <= self.bounds.stage_bytes
            assert fits or not slot.stage or len(data) >= REFERRED_FROM
            slot.stage += data
            self.staged[slot.index] += len(data)

    def _do_notify(self, slot: Slot) -> None:
        slot.notify = slot.phase == "open"

    def _do_pause(self, slot: Slot) -> None:
        slot.paused = True

    def _do_resume(self, slot: Slot) -> None:
        slot.paused = False

    def _do_shutdown(self, slot: Slot) -> None:
        slot.fin = True

    def _do_close(self, slot: Slot, mode: int) -> None:
        self._events = [event for event in self._events if event[0] != slot.handle]
        slot.notify = False
        soft = mode == GRACEFUL and slot.peer is not None
        if not soft or slot.broken or slot.connecting:
            slot.phase = "closing"
            slot.reset = mode == RESET
        elif slot.phase == "open":
            slot.phase = "flushing"
            slot.fin_said = False

    # Turns

    @property
    def _waiting(self) -> deque[Peer]:
        return self.__dict__.setdefault("_adoptable", deque())

    def _new_peer(self) -> Peer:
        peer = Peer(self.chance, self.clock)
        self.peers.append(peer)
        return peer

    def turn(self, timeout: float | None) -> Iterable[Event]:
        self._events = []
        self.memory.bytes = bytearray()
        self._take_outbox()
        commands, self._commands = self._commands, []
        for command in commands:
            self._do(*command)
        deadline = float("inf") if timeout is None else self.clock.now + timeout
        while True:
            if self.clock.now >= self._fails_at:
                self.has_failed = True
                raise OSError(errno.EBADF, "the ring has failed")
            self._move()
            if self._events or self.clock.now >= deadline:
                return self._events
            self._pass_time(deadline)

    def _pass_time(self, deadline: float) -> None:
        """To the next moment at which something may happen."""
        times = [peer.next_step for peer in self.peers if peer.next_step > self.clock.now]
        times += [time for time in self._newcomers[:1] if time > self.clock.now]
        times += [s.quiet_at for s in self.slots.values() if (s.quiet_at or 0) > self.clock.now]
        busy = self._woken or any(self._may_act(slot) for slot in self.slots.values())
        step = self.clock.now + 0.0005 if busy else min(times, default=float("inf"))
        then = min(step, deadline)
        assert then < float("inf"), "the engine sleeps, and nothing will ever wake it"
        self.clock.now = then

    def _may_act(self, slot: Slot) -> bool:
        """Whether luck alone has kept it from saying something."""
        peer = slot.peer
        if slot.phase == "closing":
            return slot.quiet_at is None or slot.quiet_at <= self.clock.now
        if slot.connecting:
            return True
        if peer is None:
            return (
                bool(self._newcomers) and self._newcomers[0] <= self.clock.now and not slot.paused
            )
        reads = not slot.paused or slot.phase != "open"
        comes = peer.said or (peer.has_ended and not slot.eof_said) or peer.is_reset
        ends = slot.fin or slot.phase != "open"
        drains = not slot.stage and (slot.notify or (ends and not slot.fin_said))
        return bool((reads and comes and not slot.broken) or peer.held or slot.stage or drains)

    def _move(self) -> None:
        for peer in self.peers:
            peer.act()
        if self._woken and self.chance.random() < 0.8:
            self._woken = False
            self._events.append((0, WOKEN, 0, 0))
        slots = list(self.slots.values())
        self.chance.shuffle(slots)
        for slot in slots:
            if self.chance.random() < 0.7 and len(self._events) + 4 < self.bounds.events:
                self._serve(slot)

    def _serve(self, slot: Slot) -> None:
        if slot.phase == "closing":
            if slot.quiet_at is None:
                slot.quiet_at = self.clock.now + self.chance.choice([0, 0, 0, 0, 0.001, 1.5])
            if slot.quiet_at <= self.clock.now:
                self._end(slot)
        elif slot.peer is None:
            self._accept(slot)
        elif slot.connecting:
            self._connect(slot)
        elif not slot.broken:
            self._read(slot, slot.peer)
            if slot.handle in self.slots and not slot.broken:
                self._write(slot, slot.peer)

    def _say(self, slot: Slot, kind: int, a: int = 0, b: int = 0) -> None:
        self._events.append((slot.handle, kind, a, b))

    def _accept(self, slot: Slot) -> None:
        if slot.paused or not self._newcomers or self._newcomers[0] > self.clock.now:
            return
        if self._stalls and self.chance.random() < 0.3:
            self._stalls -= 1
            slot.paused = True
            self._say(slot, STALLED, -self.chance.choice([errno.EMFILE, errno.ENOMEM]))
            return
        self._newcomers.pop(0)
        self._waiting.append(self._new_peer())
        self._say(slot, ACCEPTED, os.dup(self._null))

    def _connect(self, slot: Slot) -> None:
        slot.connecting = False
        if self.chance.random() < 0.5:
            slot.is_attempt = False
            self._say(slot, CONNECTED)
        else:
            self._break(slot, errno.ECONNREFUSED)

    def _read(self, slot: Slot, peer: Peer) -> None:
        if slot.eof_said or (slot.paused and slot.phase == "open"):
            return
        if peer.is_reset:
            self._break(slot, errno.ECONNRESET)
        elif peer.said:
            data = peer.said.popleft()
            count = self.chance.randrange(1, len(data) + 1)
            if count < len(data):
                peer.said.appendleft(data[count:])
            if slot.phase == "open":
                self._say(slot, DATA, self.memory.put(data[:count]), count)
        elif peer.has_ended:
            slot.eof_said = True
            if slot.phase == "open":
                self._say(slot, EOF)
            elif slot.phase == "lingering":
                slot.phase = "closing"

    def _write(self, slot: Slot, peer: Peer) -> None:
        if slot.stage and peer.is_reset:
            self._break(slot, self.chance.choice([errno.EPIPE, errno.ECONNRESET]))
            return
        room = min(max(0, peer.window - len(peer.held)), len(slot.stage))
        count = int(self.chance.random() * (room + 1))
        peer.held += slot.stage[:count]
        del slot.stage[:count]
        self.staged[slot.index] -= count
        self.sent[slot.index] += count
        if not slot.stage:
            self._drained(slot, peer)

    def _drained(self, slot: Slot, peer: Peer) -> None:
        if slot.notify:
            slot.notify = False
            self._say(slot, DRAINED)
        if (slot.fin or slot.phase == "flushing") and not slot.fin_said:
            slot.fin_said = peer.saw_end = True
            if slot.phase == "flushing" and slot.eof_said:
                slot.phase = "closing"
                return
            if slot.phase == "flushing":
                slot.phase = "lingering"
            self._say(slot, SHUT)

    def _break(self, slot: Slot, number: int) -> None:
        slot.broken = True
        slot.error = number
        if slot.phase == "open":
            self._say(slot, ERROR, -number)
            if slot.peer is not None:
                slot.peer.told = self.clock.now
        else:
            slot.phase = "closing"

    def _end(self, slot: Slot) -> None:
        del self.slots[slot.handle]
        os.close(slot.fd)
        if slot.peer is not None:
            # What the kernel has taken still arrives, but for a reset.
            if slot.reset:
                slot.peer.held.clear()
            slot.peer.got += slot.peer.held
            slot.peer.held.clear()
            slot.peer.steps.clear()
        self.staged[slot.index] = self.sent[slot.index] = 0
        self._say(slot, CLOSED, len(slot.stage), -slot.error)

    def dispose(self) -> None:
        # Attempts to connect that were given up may be left to this.
        left = [slot for slot in self.slots.values() if not slot.is_attempt]
        assert self.has_failed or not left, "the engine has ended with handles open"
        self.left = len(self.slots)
        given = [command[2] for command in self._commands if command[0] in STARTS]
        for fd in [slot.fd for slot in self.slots.values()] + given:
            os.close(fd)
        os.close(self._null)


STARTS = ("listen", "adopt", "connect")
VERBS = (*STARTS, "send", "notify", "pause", "resume", "shutdown", "close")
