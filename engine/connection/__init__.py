"""One connection: its state, and what a handler can do with it."""
