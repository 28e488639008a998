"""The Redis example with redis-cli, redis-benchmark and redis-py."""

from __future__ import annotations

import random
import re
import socket
import threading

import pytest
import redis
from engine_tools import IN_CHILDREN, WAIT, receive
from real_clients import EXAMPLES, example, run

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)


def client(port: int, protocol: int = 2) -> redis.Redis:
    return redis.Redis(port=port, protocol=protocol, socket_timeout=WAIT)


@EACH
def test_redis_cli(backend: str) -> None:
    with example("redis_server", backend) as port:

        def cli(*words: str) -> str:
            return run("redis-cli", "-p", str(port), *words).strip()

        assert cli("PING") == "PONG"
        assert cli("SET", "key", "a value") == "OK"
        assert cli("GET", "key") == "a value"
        assert cli("LPUSH", "list", "1", "2", "3") == "3"
        assert cli("LRANGE", "list", "0", "-1").split() == ["3", "2", "1"]
        assert cli("DBSIZE") == "2"
        assert "WRONGTYPE" in cli("GET", "list")
        assert "unknown command" in cli("NOSUCH")


@EACH
@pytest.mark.parametrize("pipeline", ["1", "16"])
def test_redis_benchmark(backend: str, pipeline: str) -> None:
    with example("redis_server", backend) as port:
        options = ("-p", str(port), "-q", "-n", "2000", "-c", "20", "-P", pipeline)
        said = run("redis-benchmark", *options)
    rates = re.findall(r"([\w ()-]+): [\d.]+ requests per second", said)
    assert len(rates) >= 15, said
    assert "rror" not in said


@EACH
@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(backend: str, protocol: int) -> None:
    with example("redis_server", backend) as port, client(port, protocol) as r:
        assert r.mset({"a": 1, "b": b"\x00\r\n\xff"})
        assert r.mget("a", "b", "c") == [b"1", b"\x00\r\n\xff", None]
        big = bytes(range(256)) * 20_000
        assert r.set("big", big)
        assert r.get("big") == big
        assert r.delete("big", "nothing") == 1
        with r.pipeline(transaction=False) as batch:
            for n in range(1_000):
                batch.set(f"key:{n}", n).get(f"key:{n}")
            assert batch.execute()[1::2] == [str(n).encode() for n in range(1_000)]
        ids = [r.xadd("events", {"n": n}) for n in range(100)]
        assert ids == sorted(set(ids), key=lambda at: [int(part) for part in at.split(b"-")])
        assert r.xlen("events") == 100
        assert r.config_get("save", "appendonly") == {"save": "", "appendonly": "no"}
        assert r.zadd("scores", {"b": 2, "a": 0.5}) == 2
        least = r.zpopmin("scores")
        assert list(least[0] if isinstance(least[0], (list, tuple)) else least) == [b"a", 0.5]
        assert r.lpush("queue", 1, 2) == 2
        assert r.lrange("queue", 0, -1) == [b"2", b"1"]
        assert r.get("nothing") is None
        with pytest.raises(redis.ResponseError, match="not an integer"):
            r.incr("b")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            r.execute_command("GET")
        assert r.flushall()
        assert r.dbsize() == 0


@EACH
def test_redis_py_as_it_comes(backend: str) -> None:
    with example("redis_server", backend) as port, redis.Redis(port=port) as r:
        assert r.set("k", "v")
        assert r.get("k") == b"v"


SAVE = b"$4\r\nsave\r\n$0\r\n\r\n"  # what CONFIG GET finds
HELLO = {
    "RESP3": (b"hello 3", b"%5\r\n", b"%1\r\n" + SAVE),
    "RESP2": (b"HELLO 2", b"*10\r\n", b"*2\r\n" + SAVE),
    "as before": (b"HELLO", b"*10\r\n", b"*2\r\n" + SAVE),
    "there and back": (b"HELLO 3\r\nHELLO 2", b"%5\r\n", b"*2\r\n" + SAVE),
    "neither": (b"HELLO 4", b"-NOPROTO ", b"*2\r\n" + SAVE),
}


NOTHING = b"GET no\r\nLPOP no\r\nRPOP no\r\nSPOP no\r\nHGET no f\r\nMGET k no\r\nGET k\r\n"


@EACH
@pytest.mark.parametrize(("protocol", "nil"), [(2, b"$-1\r\n"), (3, b"_\r\n")])
def test_nothing_is_said_in_the_form_of_the_protocol(
    backend: str, protocol: int, nil: bytes
) -> None:
    """A value may look like it."""
    with example("redis_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
            peer.sendall(b"HELLO %d\r\n" % protocol)
            peer.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\n$-1\r\n\r\n")
            peer.sendall(NOTHING + b"QUIT\r\n")
            got = receive(peer, 1 << 20)
    value = b"$5\r\n$-1\r\n\r\n"
    expected = nil * 5 + b"*2\r\n" + value + nil + value
    assert got.endswith(b"+OK\r\n" + expected + b"+OK\r\n")


@EACH
@pytest.mark.parametrize("how", HELLO)
def test_the_client_chooses_how_it_is_answered(backend: str, how: str) -> None:
    said, greeting, found = HELLO[how]
    with example("redis_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
            peer.sendall(said + b"\r\nCONFIG GET save\r\nQUIT\r\n")
            got = receive(peer, 1 << 20)
    assert got.startswith(greeting)
    assert got.endswith(found + b"+OK\r\n")


SET = b"*3\r\n$3\r\nsEt\r\n$1\r\nk\r\n$1\r\nv\r\n"
GET = b"*2\r\n$3\r\nget\r\n$1\r\nk\r\n"
LAST = {
    "quit": (b"*1\r\n$4\r\nQuit\r\n", b"+OK"),
    "a number": (b"*2\r\n$3\r\nGET\r\n:5\r\n", b"-ERR Protocol error: expected '$', got ':'"),
    "a list in it": (b"*1\r\n*1\r\n$4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '*'"),
    "no type": (b"*1\r\n?4\r\nPING\r\n", b"-ERR Protocol error: expected '$', got '?'"),
}


@EACH
@pytest.mark.parametrize("last", LAST)
def test_what_came_before_the_last_command_is_answered(backend: str, last: str) -> None:
    request, reply = LAST[last]
    with example("redis_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
            peer.sendall(SET + b"*0\r\n" + GET + request + GET)
            got = receive(peer, 1 << 20)
    before = b"+OK\r\n$1\r\nv\r\n"
    assert got.startswith(before + reply)
    assert got.count(b"\r\n") == before.count(b"\r\n") + 1


@EACH
def test_commands_typed_by_hand(backend: str) -> None:
    with example("redis_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
            peer.sendall(b"set k v\r\n\r\nGet k\r\nquit\r\nget k\r\n")
            assert receive(peer, 1 << 20) == b"+OK\r\n$1\r\nv\r\n+OK\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
            peer.sendall(b"PING " + b"x" * 100_000)
            assert receive(peer, 1 << 20).startswith(b"-ERR Protocol error: too big inline")


@EACH
def test_reactors_share_the_store(backend: str) -> None:
    with example("redis_server", backend, "--reactors", "2") as port:

        def count() -> None:
            with client(port) as r:
                for _ in range(300):
                    r.incr("counter")

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
        with client(port) as r:
            assert r.get("counter") == b"1200"


PIECES = """
*1|$4|PING|
*2|$3|GET|$1|k|
*2|$3|GET|$0||
*2|$3|GET|$2|||
*2|$4|ECHO|$4|*1||
*2|$3|GET|$02|ab|
*2|$3|GET|$1|
*3|$3|SET|$1|k|$2|vv|
PING|
*0|
|
""".strip().split("\n")


def test_commands_that_are_alike_are_taken_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way gives what the other gives, or leaves it to that."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from redis_requests import MAX_SPLIT, Requests

    rng = random.Random(7)
    pieces = [piece.replace("|", "\r\n").encode() for piece in PIECES]
    pieces += [b"*2\r\n$3\r\nGET\r\n$5000\r\n%b\r\n" % bytes(5000), bytes(MAX_SPLIT)]
    taken = 0
    for _ in range(3_000):
        kinds = rng.sample(pieces, rng.choice([1, 1, 2, 3]))
        data = b"".join(rng.choice(kinds) for _ in range(rng.randrange(1, 6)))
        quick, slow = Requests(), Requests()
        alike = quick.alike(data)
        if alike is None:
            continue
        taken += 1
        assert alike == list(slow.commands(data))
        assert (quick.used, quick.need) == (slow.used, slow.need) == (len(data), 1)
        first = rng.randrange(1, len(alike) + 1)
        quick.only_used(first, data)
        commands = slow.commands(data)
        for _ in range(first):
            next(commands)
        assert quick.used == slow.used
    assert taken > 500
