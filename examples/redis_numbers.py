"""Parsing numbers in the commands of the Redis example, as redis-server does."""

from __future__ import annotations

from math import isinf, isnan, nan

MAX_INT, MIN_INT = 2**63 - 1, -(2**63)


class Refusal(Exception):
    """An error reply; the connection stays open."""


def number(text: bytes, refusal: str = "ERR value is not an integer or out of range") -> int:
    """Parse an integer in canonical form: no spaces, no plus sign, no leading zeros."""
    try:
        value = int(text[:21])
    except ValueError:
        value = MAX_INT + 1
    if not MIN_INT <= value <= MAX_INT or b"%d" % value != text:
        raise Refusal(refusal)
    return value


def score(text: bytes) -> float:
    """Parse a floating-point number as strtod(3) does."""
    word = text.lower()
    try:
        value = float.fromhex(word.decode("ascii")) if b"x" in word else float(word)
    except (ValueError, OverflowError):
        value = nan
    overflows = isinf(value) and b"inf" not in word
    if isnan(value) or overflows or b"_" in word or word.strip() != word:
        raise Refusal("ERR value is not a valid float")
    return value
