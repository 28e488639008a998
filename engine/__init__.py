"""The engine: reactors, connections, buffers, timers and listeners above the completion contract."""
