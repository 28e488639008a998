"""One connection: its state, and what handlers can do with it."""
