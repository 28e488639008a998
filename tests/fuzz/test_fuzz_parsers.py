"""Whatever is given as an address or an option: taken, or refused with the error for that."""

from __future__ import annotations

import dataclasses
import socket
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import ringnet
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ringnet.engine.base.address import SCHEMES, Address, parse_address
from ringnet.engine.base.options import Options, make_options
from ringnet.engine.base.resolve import resolve
from ringnet.engine.base.source import parse_source
from ringnet.sockaddr import pack, unpack

NEARLY = st.builds(
    "".join,
    st.lists(
        st.one_of(
            st.sampled_from(
                [*SCHEMES, "fd", "://", ":", "[", "]", "::1", "127.0.0.1", "@", "/", "0"]
            ),
            st.sampled_from([".", "..", "a" * 64, "%lo", "%", "\0", "\udc80", "\uff11", "\u0663"]),
            st.text(max_size=3),
            st.integers(-1, 1 << 70).map(str),
        ),
        max_size=8,
    ),
)
ANYTHING: Any = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.binary(max_size=9),
    st.decimals(),
    st.fractions(),
    st.sampled_from([10**400, -(10**400), 10**5000, 1 << 31, 1 << 40, "\udc80", "\ud800", "a\0b"]),
    st.lists(st.integers(-1, 1 << 40), max_size=2).map(tuple),
)
NAMES = [field.name for field in dataclasses.fields(Options)]


@settings(max_examples=2000, deadline=None)
@given(st.one_of(NEARLY, st.text(max_size=60), ANYTHING))
@example("tcp://127.0.0.1:99999999999999999999999999")
@example("tcp://[::1:80")
@example("tcp://127.0.0.1:\u0663")  # a digit, but none of ASCII
@example("unix://" + "\ud800" * 40)
@example("tcp://127.0.0.1:" + "9" * 5000)
@example("tcp://127.0.0.1:" + "0" * 5000 + "9")
@example("fd://" + "9" * 5000)
@example("tcp://[]:9000")
@example("tcp://[127.0.0.1]:9000")
@example(10**5000)
def test_addresses(text: Any) -> None:
    """What was taken is the same when it is written and read again."""
    try:
        found = parse_address(text)
    except ringnet.AddressError:
        return
    assert parse_address(str(found)) == found
    assert str(found).isascii() or found.host or found.path
    assert "[]" not in str(found)
    assert 0 <= found.port <= 999_999_999
    if found.is_unix:
        assert 0 < len(found.sun_path) <= 107


@settings(max_examples=2000, deadline=None)
@given(st.one_of(st.sampled_from(NAMES), st.text(max_size=12)), ANYTHING)
def test_options(name: str, value: Any) -> None:
    """What was taken is within the range that the option states."""
    try:
        made = make_options({name: value})
    except ringnet.OptionError:
        return
    got = getattr(made, name)
    rules = next(field.metadata for field in dataclasses.fields(Options) if field.name == name)
    if "range" in rules:
        low, high = rules["range"]
        assert low <= got <= high
    assert made.bounds().slots > 0


@settings(max_examples=1000, deadline=None)
@given(st.one_of(NEARLY, st.text(max_size=300)))
@example("a" * 64 + ".example")
@example("a..b")
@example("127.0.0.1\0.example")
@example("\uff11\uff12\uff17.0.0.1")
@example("\u00fc" * 80)
@example("::1\u00aa")  # which IDNA takes for ::1a
@example("\uff1a\uff1a1")
def test_hosts(host: str) -> None:
    """A number is resolved, and all others refused, with the one error that is for that."""
    try:
        targets = resolve(Address("tcp", host, 80), 0, socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        assert len(str(error)) < 1000  # noqa: PT017
        return
    assert host.isascii()
    for family, where in targets:
        assert unpack(pack(family, where)) == (family, where)


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(
        ["tcp://127.0.0.1:1", "udp6://[::1]:1", "tcp4://name:1", "unix:///x", "udp://n:1"]
    ),
    st.one_of(NEARLY, ANYTHING, st.tuples(st.one_of(NEARLY, ANYTHING), ANYTHING)),
)
def test_local_addresses(address: str, local: Any) -> None:
    """What was taken can be bound, but for what this machine has not."""
    there = parse_address(address)
    try:
        source = parse_source(local, there)
    except ringnet.AddressError as error:
        assert len(str(error)) < 1000  # noqa: PT017
        return
    if source is None:
        assert local is None
        return
    family = source.family or there.family or socket.AF_INET6
    with socket.socket(family, there.type) as sock:
        try:
            source.bind(sock)
        except OSError as error:
            assert error.errno  # noqa: PT017


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=140))
def test_sockaddrs(packed: bytes) -> None:
    """Those that the kernel could never give are refused; the others survive both ways."""
    try:
        family, address = unpack(packed)
    except (ValueError, OSError):
        return
    assert unpack(pack(family, address)) == (family, address)


NEARLY_ADDRESSES = [
    *["", "tcp://", "tcp://:", "://", "tcp:/1:2", "unix://", "fd://"],
    *[
        "tcp://[]:1",
        "udp://[]:1",
        "tcp://[a]:1",
        "tcp://[127.0.0.1]:1",
        "tcp://[::1]",
        "tcp://::1:1",
    ],
    *["tcp://h:\u0663", "tcp://h:\uff18", "fd://\u0663", "fd://\u00b2", "tcp://[\uff11::]:1"],
    *["tcp://h:-1", "tcp://h:+1", "tcp://h:1_0", "tcp://h: 1", "tcp://h:65536", "tcp://h:1\n"],
    *[
        "tcp://h:" + "9" * 5000,
        "fd://" + "9" * 5000,
        "x" * 10**6 + "://h:1",
        "tcp://" + "[" * 10**6,
    ],
]


@pytest.mark.parametrize("wrong", NEARLY_ADDRESSES, ids=range(len(NEARLY_ADDRESSES)))
def test_what_is_nearly_an_address(wrong: str) -> None:
    with pytest.raises(ringnet.AddressError) as caught:
        parse_address(wrong)
    assert len(str(caught.value)) < 1000


WRONG_OPTIONS: list[dict[str, Any]] = [
    *[{"cpus": cpus} for cpus in ((1 << 31,), (1 << 70,), (-1,), (True,), (1.0,), [0], 0)],
    *[
        {"multicast_interface": one}
        for one in (1 << 31, 1 << 40, -1, "a\0b", "\ud800", "x" * 16, b"lo")
    ],
    *[
        {"bind_to_device": one}
        for one in ("\ud800", "a\0b", "a/b", "x" * 16, "\u00fc" * 8, 1, None)
    ],
    *[{"log_file": one} for one in ("a\0b", "\ud800", 3, b"x")],
    *[{"connect_timeout": one} for one in (Decimal(5), 10**400, 10**5000, "5", float("nan"))],
    *[{"reactors": one} for one in (10**5000, Decimal(1), 1.0, Fraction(1))],
    *[{"backend": one} for one in (10**5000, "x" * 10**6, b"epoll", ["epoll"])],
    {"x" * 10**6: 1},
]


@pytest.mark.parametrize("wrong", WRONG_OPTIONS, ids=range(len(WRONG_OPTIONS)))
def test_options_that_would_fail_later(wrong: dict[str, Any]) -> None:
    with pytest.raises(ringnet.OptionError) as caught:
        ringnet.Engine(ringnet.EventHandler(), "tcp://127.0.0.1:0", **wrong)
    assert len(str(caught.value)) < 2000
