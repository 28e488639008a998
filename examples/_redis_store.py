"""The data of `redis_server.py`: what each command on keys does.

A command is a method of `Store` with the name that it has in Redis, and its arguments are the
method's, as bytes. It returns plain values: None, int, bytes, float, list, or `Raw` for a reply
that is encoded already. What is wrong with a command it raises as `CommandError`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from itertools import islice
from typing import TypeVar


class CommandError(Exception):
    """A command that cannot be done; its text is the reply."""


class Raw(bytes):
    """A reply as it goes over the wire."""


class Pairs(list[list[object]]):
    """Pairs, which RESP2 has flat and RESP3 has as a list of lists."""


class SortedSet:
    """Members in the order of their scores. Both views of it are kept the same."""

    __slots__ = ("order", "scores")

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.scores)

    def add(self, member: bytes, score: float) -> bool:
        """Set a member's score; returns whether the member is new."""
        old = self.scores.get(member)
        if old is not None:
            del self.order[bisect_left(self.order, (old, member))]
        self.scores[member] = score
        insort(self.order, (score, member))
        return old is None

    def pop_lowest(self, count: int) -> list[tuple[float, bytes]]:
        lowest = self.order[:count]
        del self.order[:count]
        for _, member in lowest:
            del self.scores[member]
        return lowest


OK = Raw(b"+OK\r\n")
INTEGER = "ERR value is not an integer or out of range"
NOT_POSITIVE = "ERR value is out of range, must be positive"
NOT_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"
WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1

Value = bytes | deque[bytes] | set[bytes] | dict[bytes, bytes] | SortedSet
Kind = TypeVar("Kind", bytes, deque[bytes], set[bytes], dict[bytes, bytes], SortedSet)


def integer(text: bytes, complaint: str = INTEGER, lowest: int = LOWEST) -> int:
    """A number of 64 bits, written as Redis writes it: no sign but "-", no leading zeros."""
    try:
        number = int(text) if len(text) <= 20 else HIGHEST + 1
    except ValueError:
        raise CommandError(complaint) from None
    if b"%d" % number != text or not lowest <= number <= HIGHEST:
        raise CommandError(complaint)
    return number


def real(text: bytes) -> float:
    try:
        number = float(text)
    except ValueError:
        raise CommandError(NOT_FLOAT) from None
    if math.isnan(number) or b"_" in text or text != text.strip():
        raise CommandError(NOT_FLOAT)
    return number


def pairs(command: str, arguments: tuple[bytes, ...]) -> list[tuple[bytes, bytes]]:
    """Arguments two by two."""
    if len(arguments) % 2:
        raise CommandError(f"ERR wrong number of arguments for '{command}' command")
    return list(zip(arguments[::2], arguments[1::2], strict=True))


class Store:
    """Keys and their values. It has no bound: it holds what clients store until they delete it."""

    def __init__(self) -> None:
        self.values: dict[bytes, Value] = {}

    def _find(self, key: bytes, kind: type[Kind]) -> Kind | None:
        """The value of a key, which is of this kind if it is there at all."""
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        raise CommandError(WRONG_TYPE)

    def _make(self, key: bytes, kind: type[Kind]) -> Kind:
        """The same, made where it is not there."""
        value = self._find(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def _drop_if_empty(self, key: bytes) -> None:
        if not self.values[key]:
            del self.values[key]

    # Keys

    def delete(self, key: bytes, *more: bytes) -> int:
        return sum(self.values.pop(each, None) is not None for each in (key, *more))

    def exists(self, key: bytes, *more: bytes) -> int:
        return sum(each in self.values for each in (key, *more))

    def dbsize(self) -> int:
        return len(self.values)

    def flushall(self, mode: bytes = b"SYNC") -> Raw:
        if mode.upper() not in (b"SYNC", b"ASYNC"):
            raise CommandError(SYNTAX)
        self.values.clear()
        return OK

    # Strings

    def get(self, key: bytes) -> bytes | None:
        return self._find(key, bytes)

    def set(self, key: bytes, value: bytes, *options: bytes) -> Raw | None:
        """Only with the options NX and XX: nothing here expires."""
        wanted = {option.upper() for option in options}
        if wanted and wanted != {b"NX"} and wanted != {b"XX"}:
            raise CommandError(SYNTAX)
        if wanted and (key in self.values) != (b"XX" in wanted):
            return None
        self.values[key] = value
        return OK

    def incr(self, key: bytes) -> int:
        number = integer(self._find(key, bytes) or b"0")
        if number == HIGHEST:
            raise CommandError("ERR increment or decrement would overflow")
        self.values[key] = b"%d" % (number + 1)
        return number + 1

    def mset(self, key: bytes, value: bytes, *more: bytes) -> Raw:
        self.values.update(pairs("mset", (key, value, *more)))
        return OK

    def mget(self, key: bytes, *more: bytes) -> list[bytes | None]:
        found = [self.values.get(each) for each in (key, *more)]
        return [value if isinstance(value, bytes) else None for value in found]

    # Lists

    def lpush(self, key: bytes, value: bytes, *more: bytes) -> int:
        items = self._make(key, deque)
        items.extendleft((value, *more))
        return len(items)

    def rpush(self, key: bytes, value: bytes, *more: bytes) -> int:
        items = self._make(key, deque)
        items.extend((value, *more))
        return len(items)

    def lpop(self, key: bytes, count: bytes | None = None) -> bytes | list[bytes] | None:
        return self._pop(key, count, deque.popleft)
