"""Byte buffers: what has arrived and is not read yet, and what waits to be sent."""
