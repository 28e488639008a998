"""perf/: what other programs and the kernel say is read rightly."""

from __future__ import annotations

import os

import pytest
from figures.callgrind import cost_by_object, share_of
from instructions import growth
from measuring.cpus import parse_busy, parse_cpu_list
from measuring.kinds import parse_redis_benchmark, parse_wrk
from measuring.load import is_whole
from measuring.measurement import rotated
from measuring.servers import CannotServe, port_in

CALLGRIND = """\
version: 1
positions: line
events: Ir

ob=/usr/bin/python3.11
fl=???
fn=_PyEval_EvalFrameDefault
0 100
cob=/lib/uring/_ring.abi3.so
cfn=rn_turn
calls=3 0
0 5000
12 7

ob=/lib/uring/_ring.abi3.so
fl=ring.c
fn=rn_turn
40 25
+1 5
* 1
totals: 138
"""


def test_costs_are_of_the_object_itself() -> None:
    costs = cost_by_object(CALLGRIND.splitlines())
    assert costs == {"/usr/bin/python3.11": 107, "/lib/uring/_ring.abi3.so": 31}
    assert share_of(costs, "/uring/_ring") == 31
    assert share_of(costs, "") == 138


def test_growth_is_of_what_both_have() -> None:
    assert growth({"a": 103, "b": 5}, {"a": 100, "c": 1}) == {"a": pytest.approx(0.03)}


@pytest.mark.parametrize(
    ("reply", "whole"),
    [
        (b"+OK\r\n", True),
        (b"+OK", False),
        (b"$3\r\nxxx\r\n", True),
        (b"$3\r\nxxx", False),
        (b"$", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", False),
        (b"HTTP/1.1 200 OK\r\nConte", False),
    ],
)
def test_when_a_reply_is_whole(reply: bytes, whole: bool) -> None:
    assert is_whole(reply) is whole


def test_an_error_is_no_reply_to_measure_with() -> None:
    with pytest.raises(CannotServe, match="404"):
        is_whole(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("line", "port"),
    [
        ("8080", 8080),
        ("http_server on tcp://127.0.0.1:41234 (io_uring: it is there)", 41234),
        ("Traceback", None),
        ("", None),
    ],
)
def test_the_port_in_what_a_server_says(line: str, port: int | None) -> None:
    assert port_in(line) == port


WRK = """Running 1s test @ http://127.0.0.1:8080/
  123456 requests in 1.01s, 12.00MB read
{}Requests/sec: 122233.66
Transfer/sec:     17.23MB
"""


def test_the_answer_of_wrk() -> None:
    assert parse_wrk(WRK.format("")) == (122233.66, 123456)
    with pytest.raises(CannotServe):
        parse_wrk(WRK.format("  Non-2xx or 3xx responses: 3\n"))


def test_the_answer_of_redis_benchmark() -> None:
    text = '"test","rps","avg_latency_ms"\n"GET","98765.40","0.2"\n'
    assert parse_redis_benchmark(text) == 98765.40
    with pytest.raises(CannotServe):
        parse_redis_benchmark("Could not connect")


def test_the_kernels_ways_to_write() -> None:
    assert parse_cpu_list("0-2,7\n") == {0, 1, 2, 7}
    text = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 400 5 6 7 8 0 0\ncpu1 0 0 0 9 0 0 0 0 0 0\n"
    assert parse_busy(text, 0) == (1 + 2 + 3 + 6 + 7 + 8) / os.sysconf("SC_CLK_TCK")
    assert parse_busy(text, 1) == 0.0
    assert parse_busy(text, 5) == 0.0


def test_every_run_begins_with_the_next_one() -> None:
    turns = ["a", "b", "c"]
    assert [rotated(turns, run)[0] for run in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated(turns, 2)) == turns
    assert rotated([], 1) == []
