"""Numbers in the commands of the Redis example, in the spellings that redis-server takes."""

from __future__ import annotations

from math import isinf, isnan, nan

MAX_INT, MIN_INT = 2**63 - 1, -(2**63)


class Refusal(Exception):
    """An error reply; the connection stays."""


def number(text: bytes, refusal: str = "ERR value is not an integer or out of range") -> int:
    """An integer in its one spelling: no blanks, no plus sign, no zeros in front."""
    try:
        value = int(text[:21])
    except ValueError:
        value = MAX_INT + 1
    if not MIN_INT <= value <= MAX_INT or b"%d" % value != text:
        raise Refusal(refusal)
    return value


def score(text: bytes) -> float:
    """A floating-point number as strtod(3) reads it."""
    word = text.lower()
    try:
        value = float.fromhex(word.decode("ascii")) if b"x" in word else float(word)
    except (ValueError, OverflowError):
        value = nan
    overflows = isinf(value) and b"inf" not in word
    if isnan(value) or overflows or b"_" in word or word.strip() != word:
        raise Refusal("ERR value is not a valid float")
    return value
