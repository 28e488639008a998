"""The replies of the Redis example, as bytes of RESP2."""

from __future__ import annotations

from collections.abc import Callable, Iterable

OK = b"+OK\r\n"
NIL = b"$-1\r\n"
NULL = b"_\r\n"  # NIL in RESP3
HEADS = [b"$%d\r\n" % size for size in range(256)]  # for short values, as nearly all are


def integer(n: int) -> bytes:
    return b":%d\r\n" % n


def bulk(value: bytes | None) -> bytes:
    if value is None:
        return NIL
    size = len(value)
    return (HEADS[size] if size < len(HEADS) else b"$%d\r\n" % size) + value + b"\r\n"


def array(values: Iterable[bytes | None], nothing: bytes = NIL) -> bytes:
    parts = [nothing if value is None else bulk(value) for value in values]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


def nil_as_null(function: Callable[..., bytes]) -> Callable[..., bytes]:
    """Wrap a function so that it replies as in RESP3."""

    def call(*arguments: object) -> bytes:
        reply = function(*arguments)
        return NULL if reply is NIL else reply

    return call


def as_map(flat: bytes) -> bytes:
    """Turn an array of names and values into a map of RESP3."""
    size, rest = flat[1:].split(b"\r\n", 1)
    return b"%%%d\r\n%b" % (int(size) // 2, rest)


def error(text: str | bytes) -> bytes:
    """An error reply on one line, even if it quotes a client's words with line ends."""
    line = text.encode() if isinstance(text, str) else text
    return b"-" + line.replace(b"\r", b" ").replace(b"\n", b" ") + b"\r\n"


def wrong_number(name: bytes) -> bytes:
    return error(b"ERR wrong number of arguments for '%b' command" % name.lower())
