"""Whatever is given as an address or an option: taken, or refused with the error for that."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import ringnet
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ringnet.engine.address import SCHEMES, parse_address
from ringnet.engine.options import Options, make_options
from ringnet.sockaddr import pack, unpack

NEARLY = st.builds(
    "".join,
    st.lists(
        st.one_of(
            st.sampled_from(
                [*SCHEMES, "fd", "://", ":", "[", "]", "::1", "127.0.0.1", "@", "/", "0"]
            ),
            st.text(max_size=3),
            st.integers(-1, 1 << 70).map(str),
        ),
        max_size=8,
    ),
)
ANYTHING: Any = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.binary(max_size=9)
)
NAMES = [field.name for field in dataclasses.fields(Options)]


@settings(max_examples=2000, deadline=None)
@given(st.one_of(NEARLY, st.text(max_size=60), ANYTHING))
@example("tcp://127.0.0.1:99999999999999999999999999")
@example("tcp://[::1:80")
@example("tcp://127.0.0.1:\u0663")  # a digit, but none of ASCII
@example("unix://" + "\ud800" * 40)
def test_addresses(text: Any) -> None:
    """What was taken is the same when it is written and read again."""
    try:
        found = parse_address(text)
    except ringnet.AddressError:
        return
    assert parse_address(str(found)) == found
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
@given(st.binary(max_size=140))
def test_sockaddrs(packed: bytes) -> None:
    """Those that the kernel could never give are refused; the others survive both ways."""
    try:
        family, address = unpack(packed)
    except (ValueError, OSError):
        return
    assert unpack(pack(family, address)) == (family, address)


@pytest.mark.parametrize("wrong", ["", "tcp://", "tcp://:", "://", "tcp:/1:2", "unix://", "fd://"])
def test_what_is_nearly_an_address(wrong: str) -> None:
    with pytest.raises(ringnet.AddressError):
        parse_address(wrong)
