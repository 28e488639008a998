"""The limits on bytes that wait to be sent: `max_outbound` and `max_buffered`."""

from __future__ import annotations

from ..base.errors import BufferLimitExceeded
from .owner import Owner


def refusal(loop: Owner, waiting: int, more: int) -> BufferLimitExceeded | None:
    """The error if no more bytes may wait; None if they may."""
    limit = loop.options.max_outbound
    if waiting >= limit:
        return BufferLimitExceeded(
            f"{waiting} bytes are waiting to be sent (max_outbound={limit}): "
            "the peer reads more slowly than you write"
        )
    if not loop.budget.may_buffer(more):
        return BufferLimitExceeded(
            f"the engine has buffered {loop.budget.buffered} bytes; {more} more would exceed "
            f"max_buffered={loop.options.max_buffered}"
        )
    return None
