"""What the compared servers have in common: where they listen, and what they answer."""

from __future__ import annotations

HOST = "127.0.0.1"
BLOCK = bytes(256 * 1024)  # a source answers each byte with it; native/roles.h has its size too
GREETING = b"Hello from ringnet!\n"  # as examples/http_server.py: all HTTP servers send as much
