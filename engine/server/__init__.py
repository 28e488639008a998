"""The engine: its reactors, what it listens on, its start and its end."""
