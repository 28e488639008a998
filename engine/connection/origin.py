"""Where connections come from: a listener, or a client that dials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..base.action import Handler, overrides

if TYPE_CHECKING:
    from .listener import Listener


class Origin:
    """What all connections of one listener, or of one client, have in common."""

    __slots__ = (
        "handler",
        "is_over",
        "is_stream",
        "knows_peers",
        "listener",
        "on_traffic",
        "prepares_each",
    )

    def __init__(self, handler: Handler, listener: Listener | None = None) -> None:
        self.handler = handler
        self.listener = listener
        self.prepares_each = listener is not None and listener.prepares_each
        self.is_over = False  # its client has stopped, and starts nothing new
        self.is_stream = listener is None or listener.parsed.is_stream
        self.look_up()

    def look_up(self) -> None:
        """Look up the handler's methods: once, and not for each message."""
        self.on_traffic = self.handler.on_traffic
        self.knows_peers = overrides(self.handler, "on_close")
