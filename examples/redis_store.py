"""The commands of the Redis example: a table of functions over a dictionary.

Each command takes the store and its arguments as bytes, and returns the reply as bytes of RESP2.
Those that RESP3 answers in another form are there twice.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from time import time_ns
from typing import Any, TypeVar

from redis_numbers import MAX_INT, MIN_INT, Refusal, number, score
from redis_replies import (
    NIL,
    NULL,
    OK,
    array,
    as_map,
    bulk,
    error,
    integer,
    nil_as_null,
    wrong_number,
)

Store = dict[bytes, Any]
Command = Callable[..., bytes]
T = TypeVar("T")

ANY = sys.maxsize  # number of arguments
# By name, in upper and lower case: the function, and the least and most words that it takes,
# including the name.
Table = dict[bytes, tuple[Command, int, int]]
RESP2: Table = {}
RESP3: Table = {}


class Quit(Exception):
    """The connection is closed after a last reply."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply


class Hello(Exception):
    """The client has chosen the protocol of its replies: a table, and the reply to HELLO."""

    def __init__(self, table: Table, reply: bytes) -> None:
        self.table = table
        self.reply = reply


def command(
    least: int,
    most: int | None = None,
    tables: tuple[Table, ...] = (RESP2, RESP3),
    may_be_nothing: bool = False,
) -> Callable[[Command], Command]:
    """Enter a function into the tables; it takes `least` to `most` arguments, or just `least`."""

    def enter(function: Command) -> Command:
        name = function.__name__.partition("_")[0].encode()
        counts = least + 1, (least if most is None else most) + 1
        for table in tables:
            call = nil_as_null(function) if may_be_nothing and table is RESP3 else function
            table[name] = table[name.upper()] = call, *counts
        return function

    return enter


def execute(table: Table, store: Store, words: list[Any]) -> bytes:
    """The reply to a command; its list of words is consumed. Raises Quit and Hello."""
    entry = table.get(words[0])
    if entry is None:
        return execute_rare(table, store, words)
    function, least, most = entry
    if not least <= len(words) <= most:
        return wrong_number(words[0])
    words[0] = store  # now these are the function's arguments
    try:
        return function(*words)
    except Refusal as refusal:
        return error(str(refusal))


def execute_rare(table: Table, store: Store, words: list[bytes]) -> bytes:
    """An unknown command, or one in mixed case."""
    name = words[0].upper()
    if name in table:
        return execute(table, store, [name, *words[1:]])
    if name in (b"POST", b"HOST:"):
        raise Quit(b"")  # a browser that was tricked into connecting; redis-server does the same
    arguments = b""
    for word in words[1:]:
        if len(arguments) >= 128:
            break
        arguments += b"'%b' " % word[: 128 - len(arguments)]
    return error(
        b"ERR unknown command '%b', with args beginning with: %b" % (words[0][:128], arguments)
    )


def typed(store: Store, key: bytes, kind: type[T]) -> T | None:
    """The value of a key, which must be of that kind if it exists."""
    value = store.get(key)
    if value is not None and type(value) is not kind:
        raise Refusal("WRONGTYPE Operation against a key holding the wrong kind of value")
    return value


def made(store: Store, key: bytes, kind: type[T]) -> T:
    """The same, created empty if it is missing."""
    value = typed(store, key, kind)
    if value is None:
        value = store[key] = kind()
    return value


@command(0, 1)
def ping(store: Store, text: bytes | None = None) -> bytes:
    return b"+PONG\r\n" if text is None else bulk(text)


@command(1)
def echo(store: Store, text: bytes) -> bytes:
    return bulk(text)


@command(2)
def set_(store: Store, key: bytes, value: bytes) -> bytes:
    store[key] = value
    return OK


@command(1, may_be_nothing=True)
def get(store: Store, key: bytes) -> bytes:
    value = store.get(key)
    return bulk(value if type(value) is bytes else typed(store, key, bytes))


@command(1, ANY)
def del_(store: Store, *keys: bytes) -> bytes:
    return integer(sum(store.pop(key, None) is not None for key in keys))


@command(1, ANY)
def exists(store: Store, *keys: bytes) -> bytes:
    return integer(sum(key in store for key in keys))


@command(1)
def incr(store: Store, key: bytes) -> bytes:
    return incrby(store, key, b"1")


@command(2)
def incrby(store: Store, key: bytes, by: bytes) -> bytes:
    value = number(typed(store, key, bytes) or b"0") + number(by)
    if not MIN_INT <= value <= MAX_INT:
        raise Refusal("ERR increment or decrement would overflow")
    store[key] = b"%d" % value
    return integer(value)


@command(2, ANY)
def mset(store: Store, *pairs: bytes) -> bytes:
    if len(pairs) % 2:
        return wrong_number(b"mset")
    store.update(zip(pairs[::2], pairs[1::2], strict=True))
    return OK


@command(1, ANY, tables=(RESP2,))
def mget(store: Store, *keys: bytes, nothing: bytes = NIL) -> bytes:
    values = (store.get(key) for key in keys)
    return array((value if type(value) is bytes else None for value in values), nothing)


@command(1, ANY, tables=(RESP3,))
def mget_3(store: Store, *keys: bytes) -> bytes:
    return mget(store, *keys, nothing=NULL)


@command(2, ANY)
def lpush(store: Store, key: bytes, *values: bytes) -> bytes:
    items: deque[bytes] = made(store, key, deque)
    items.extendleft(values)
    return integer(len(items))


@command(2, ANY)
def rpush(store: Store, key: bytes, *values: bytes) -> bytes:
    items: deque[bytes] = made(store, key, deque)
    items.extend(values)
    return integer(len(items))


def take(store: Store, key: bytes, kind: type, how: Callable[[Any], T]) -> T | None:
    """Remove one member from a collection, and the collection itself if that was the last."""
    items: Any = typed(store, key, kind)
    if not items:
        return None
    taken = how(items)
    if not items:
        del store[key]
    return taken


@command(1, may_be_nothing=True)
def lpop(store: Store, key: bytes) -> bytes:
    return bulk(take(store, key, deque, deque.popleft))


@command(1, may_be_nothing=True)
def rpop(store: Store, key: bytes) -> bytes:
    return bulk(take(store, key, deque, deque.pop))


@command(3)
def lrange(store: Store, key: bytes, start: bytes, stop: bytes) -> bytes:
    items = list(typed(store, key, deque) or ())
    first, last = number(start), number(stop)
    first = max(0, first + len(items)) if first < 0 else first
    last = last + len(items) if last < 0 else last
    return array(items[first : last + 1])


@command(2, ANY)
def sadd(store: Store, key: bytes, *members: bytes) -> bytes:
    items: set[bytes] = made(store, key, set)
    before = len(items)
    items.update(members)
    return integer(len(items) - before)


@command(1, may_be_nothing=True)
def spop(store: Store, key: bytes) -> bytes:
    return bulk(take(store, key, set, set.pop))


@command(3, ANY)
def hset(store: Store, key: bytes, *pairs: bytes) -> bytes:
    if len(pairs) % 2:
        return wrong_number(b"hset")
    fields: dict[bytes, bytes] = made(store, key, dict)
    before = len(fields)
    fields.update(zip(pairs[::2], pairs[1::2], strict=True))
    return integer(len(fields) - before)


@command(2, may_be_nothing=True)
def hget(store: Store, key: bytes, field: bytes) -> bytes:
    return bulk((typed(store, key, dict) or {}).get(field))


class SortedSet(dict[bytes, float]):
    """Members with their scores."""


@command(3, ANY)
def zadd(store: Store, key: bytes, *pairs: bytes) -> bytes:
    if len(pairs) % 2:
        raise Refusal("ERR syntax error")
    scores = [score(text) for text in pairs[::2]]
    members = made(store, key, SortedSet)
    before = len(members)
    members.update(zip(pairs[1::2], scores, strict=True))
    return integer(len(members) - before)


def least(members: SortedSet) -> tuple[bytes, bytes]:
    """Remove the member with the lowest score, and return it with its score."""
    member = min(members, key=lambda member: (members[member], member))
    return member, b"%.17g" % members.pop(member)


@command(1, tables=(RESP2,))
def zpopmin(store: Store, key: bytes) -> bytes:
    return array(take(store, key, SortedSet, least) or ())


@command(1, tables=(RESP3,))
def zpopmin_3(store: Store, key: bytes) -> bytes:
    found = take(store, key, SortedSet, least)
    return array(()) if found is None else b"*2\r\n%b,%b\r\n" % (bulk(found[0]), found[1])


class Stream(list[tuple[int, int, tuple[bytes, ...]]]):
    """Entries: an ID of milliseconds and a number, and fields with their values."""


@command(4, ANY)
def xadd(store: Store, key: bytes, entry_id: bytes, *pairs: bytes) -> bytes:
    if entry_id != b"*":
        raise Refusal("ERR only * is there as the ID of a new entry")
    if len(pairs) % 2:
        return wrong_number(b"xadd")
    entries = made(store, key, Stream)
    after = (entries[-1][0], entries[-1][1] + 1) if entries else (0, 0)
    at, count = max((time_ns() // 1_000_000, 0), after)
    entries.append((at, count, pairs))
    return bulk(b"%d-%d" % (at, count))


@command(1)
def xlen(store: Store, key: bytes) -> bytes:
    return integer(len(typed(store, key, Stream) or ()))


@command(0)
def dbsize(store: Store) -> bytes:
    return integer(len(store))


@command(0, 1)
def flushall(store: Store, how: bytes = b"") -> bytes:
    store.clear()
    return OK


@command(1, ANY, tables=(RESP2,))
def config(store: Store, verb: bytes, *names: bytes) -> bytes:
    if verb.upper() != b"GET":
        raise Refusal("ERR only CONFIG GET is there")
    known = {b"save": b"", b"appendonly": b"no"}
    return array(word for name in names if name in known for word in (name, known[name]))


@command(1, ANY, tables=(RESP3,))
def config_3(store: Store, verb: bytes, *names: bytes) -> bytes:
    return as_map(config(store, verb, *names))


@command(0, ANY)
def command_(store: Store, *words: bytes) -> bytes:
    return array(()) if words else array(sorted(filter(bytes.isupper, RESP2)))


@command(1, ANY)
def client(store: Store, *words: bytes) -> bytes:
    return OK


@command(1)
def select(store: Store, which: bytes) -> bytes:
    if number(which) != 0:
        raise Refusal("ERR DB index is out of range")
    return OK


GREETING = b"".join(
    bulk(word) for word in b"server ringnet version 7.0.0 mode standalone role master proto".split()
)


@command(0, 6, tables=(RESP2,))
def hello(store: Store, version: bytes = b"2", *words: bytes) -> bytes:
    """HELLO: credentials after the version are ignored, since no password is set."""
    wanted = number(version, "ERR Protocol version is not an integer or out of range")
    table = {2: RESP2, 3: RESP3}.get(wanted)
    if table is None:
        raise Refusal("NOPROTO unsupported protocol version")
    head = b"%5" if table is RESP3 else b"*10"
    raise Hello(table, b"%b\r\n%b:%b\r\n" % (head, GREETING, version))


@command(0, 6, tables=(RESP3,))
def hello_3(store: Store, version: bytes = b"3", *words: bytes) -> bytes:
    return hello(store, version, *words)


@command(0)
def quit_(store: Store) -> bytes:
    raise Quit(OK)
