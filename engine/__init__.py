"""The engine above the completion contract: reactors, connections, buffers, timers, listeners."""
