"""Parsing the requests of a Redis connection from its bytes as they arrive.

The rules, the limits and the error texts are redis-server's. (hiredis is a parser for replies:
requests have another grammar, and it reserves memory for as many elements as a peer announces.)
Here no memory is reserved for what a peer only announces: an incomplete argument stays in the
connection's inbound buffer, and its bytes are copied once, when it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_LINE = 64 * 1024  # bytes of a line: a length, or an inline command
MAX_WORDS = 1024 * 1024  # of a command, including its name
MAX_WORD = 32 * 1024 * 1024  # bytes; less than max_inbound, or it could never be complete
MAX_COMMAND = 2 * MAX_WORD  # bytes of all its words
MAX_SPLIT = 1024 * 1024  # bytes that are split at line ends at once

# The first lines of commands with few words, and of short words, as nearly all are.
COUNTS = {b"*%d" % count: count for count in range(1, 10)}
STEPS = {start: 1 + 2 * count for start, count in COUNTS.items()}
SIZES = [b"$%d" % size for size in range(4096)]

# A word of an inline command: plain, perhaps followed by a quoted part. Possessive quantifiers
# prevent backtracking.
WORD = re.compile(
    rb"""\s*+([^\s"']*+)(?:"((?:\\.|[^"\\])*+)"|'((?:\\'|[^'])*+)')?+(?=\s|$)""", re.DOTALL
)
NUMBER = re.compile(rb"0|-?[1-9]\d{0,18}")  # in canonical form
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


class ProtocolError(Exception):
    """The input is not a request; the connection is closed with this text."""

    def __init__(self, text: bytes) -> None:
        self.text = text


class Requests:
    """The parser of one connection."""

    __slots__ = ("_at", "_left", "_parts", "_size", "_used", "_words", "need")

    def __init__(self) -> None:
        self.need = 1  # bytes that are needed for another command
        self._used = 0  # bytes of the input that are used, before `_parts`
        self._parts: list[bytes] = []  # the input after these, split at line ends,
        self._at = 0  # and how many of the parts are used
        self._words: list[bytes] = []  # the words of an incomplete command,
        self._left = 0  # how many are missing,
        self._size = 0  # and their total size in bytes

    @property
    def used(self) -> int:
        """Bytes of the commands parsed so far."""
        if not self._at:
            return self._used
        return self._used + 2 * self._at + len(b"".join(self._parts[: self._at]))

    def alike(self, data: bytes) -> list[list[bytes]] | None:
        """All commands in `data`, if it is one command, or several with the same number of words,
        complete and without line ends in them. Otherwise None: `commands` parses the general case.

        Most clients send this, and it is parsed with a few calls for all commands together.
        """
        if len(data) > MAX_SPLIT:
            return None
        parts = data.split(b"\r\n")
        last = len(parts) - 1
        step = STEPS.get(parts[0])  # parts that a command has
        if step is None or self._left or last % step or parts[last]:
            return None
        self._used, self._at, self.need = len(data), 0, 1
        if last == step:
            words = parts[2::2]
            return [words] if are_sizes(parts[1:last:2], words) else None
        if parts[0:last:step].count(parts[0]) * step != last:
            return None
        columns = [parts[at:last:step] for at in range(1, step)]
        if not all(map(are_sizes, columns[::2], columns[1::2])):
            return None
        return list(map(list, zip(*columns[1::2], strict=True)))

    def only_used(self, count: int, data: bytes) -> None:
        """Of the commands that `alike` returned for `data`, only `count` were used."""
        parts = data.split(b"\r\n")
        step = STEPS[parts[0]]
        self._used = len(b"\r\n".join(parts[: count * step])) + 2

    def commands(self, data: bytes) -> Iterator[list[bytes]]:
        """Yield the complete commands in `data`, which begins with the first unused byte.

        Raises ProtocolError. The caller may stop after any of them.
        """
        self._used, self._parts, self._at = 0, [], 0
        self.need = 1
        if not self._left and data[:1] == b"*" and len(data) <= MAX_SPLIT:
            # Commands with few words and without line ends in them, up to the first other one.
            parts = self._parts = data.split(b"\r\n")
            last = len(parts) - 1
            at = 0
            while at < last and (count := COUNTS.get(parts[at])):
                end = at + 1 + 2 * count
                words = parts[at + 2 : end : 2]
                if end > last or not are_sizes(parts[at + 1 : end : 2], words):
                    break
                self._at = at = end
                yield words
            self._used, self._parts, self._at = self.used, [], 0
        while self._used < len(data) and (words := self._next(data)) is not None:
            if words:
                yield words

    def _next(self, data: bytes) -> list[bytes] | None:
        """The command at `used`, empty for an empty line; None if it is incomplete."""
        if not self._left:
            if data[self._used : self._used + 1] != b"*":
                return self._typed(data)
            count = self._length(data, MAX_WORDS, b"multibulk", b"mbulk")
            if count is None:
                return None
            self._left = max(0, count)
        while self._left:
            word = self._word(data)
            if word is None:
                return None
            self._words.append(word)
            self._left -= 1
        words, self._words, self._size = self._words, [], 0
        return words

    def _length(self, data: bytes, most: int, what: bytes, short: bytes) -> int | None:
        """The number in the line at `used`, after its first byte."""
        line = self._line(data, b"\r", b"too big %b count string" % short)
        if line is None or self._used + len(line) + 2 > len(data):
            return None  # its line feed is still to come
        if what == b"bulk" and line[:1] != b"$":
            found = data[self._used : self._used + 1]
            raise ProtocolError(b"expected '$', got '%b'" % found)
        value = int(line[1:]) if NUMBER.fullmatch(line, 1) else most + 1
        if value > most or (what == b"bulk" and value < 0):
            raise ProtocolError(b"invalid %b length" % what)
        self._used += len(line) + 2
        return value

    def _line(self, data: bytes, end: bytes, too_long: bytes) -> bytes | None:
        """The bytes before the next `end`, without using them; None if it is missing."""
        at = data.find(end, self._used, self._used + MAX_LINE)
        if at >= 0:
            return data[self._used : at]
        if len(data) - self._used >= MAX_LINE:
            raise ProtocolError(too_long)
        self.need = len(data) - self._used + 1
        return None

    def _word(self, data: bytes) -> bytes | None:
        start = self._used
        size = self._length(data, MAX_WORD, b"bulk", b"bulk")
        if size is None:
            return None
        end = self._used + size
        if end + 2 > len(data):
            self.need = end + 2 - start
            self._used = start
            return None
        self._size += size
        if self._size > MAX_COMMAND:
            raise ProtocolError(b"too big request")
        word = data[self._used : end]
        self._used = end + 2
        return word

    def _typed(self, data: bytes) -> list[bytes] | None:
        """An inline command, as people type it and redis-benchmark's PING_INLINE sends it."""
        line = self._line(data, b"\n", b"too big inline request")
        if line is None:
            return None
        self._used += len(line) + 1
        line = line.partition(b"\0")[0]
        return split(line) if b'"' in line or b"'" in line else line.split()


def are_sizes(sizes: list[bytes], words: list[bytes]) -> bool:
    """Whether each size is that of its word; False if a word is long."""
    try:
        return [SIZES[len(word)] for word in words] == sizes
    except IndexError:
        return False


def split(line: bytes) -> list[bytes]:
    """Split a line into words, some of them in quotes."""
    line = line.strip()
    words = []
    at = 0
    while at < len(line):
        found = WORD.match(line, at)
        if found is None:
            raise ProtocolError(b"unbalanced quotes in request")
        plain, double, single = (part or b"" for part in found.groups())
        words.append(plain + ESCAPE.sub(unescape, double) + single.replace(b"\\'", b"'"))
        at = found.end()
    return words


def unescape(found: re.Match[bytes]) -> bytes:
    """The bytes that an escape in double quotes stands for."""
    code = found[1]
    return bytes([int(code[1:], 16)]) if len(code) > 1 else ESCAPED.get(code, code)
