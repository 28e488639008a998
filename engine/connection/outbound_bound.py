"""The bounds on what may wait to be sent: `max_outbound` and `max_buffered`."""

from __future__ import annotations

from ..base.errors import BufferLimitExceeded
from .owner import Owner


def refusal(loop: Owner, waiting: int, more: int) -> BufferLimitExceeded | None:
    """Why no more bytes may wait, if they may not."""
    limit = loop.options.max_outbound
    if waiting >= limit:
        return BufferLimitExceeded(
            f"{waiting} bytes wait to be sent (max_outbound={limit}): "
            "the peer reads slower than you write"
        )
    if not loop.budget.may_buffer(more):
        return BufferLimitExceeded(
            f"the engine holds {loop.budget.buffered} bytes, and {more} more would pass "
            f"max_buffered={loop.options.max_buffered}"
        )
    return None
