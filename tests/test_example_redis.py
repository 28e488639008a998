"""The Redis example with redis-cli, redis-benchmark and redis-py."""

from __future__ import annotations

import re
import threading

import pytest
import redis
from engine_tools import IN_CHILDREN, WAIT
from real_clients import example, run

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)


def client(port: int) -> redis.Redis:
    return redis.Redis(port=port, protocol=2, socket_timeout=WAIT)


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
def test_redis_py(backend: str) -> None:
    with example("redis_server", backend) as port, client(port) as r:
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
        with pytest.raises(redis.ResponseError, match="not an integer"):
            r.incr("b")
        with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
            r.execute_command("GET")
        assert r.flushall()
        assert r.dbsize() == 0


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
