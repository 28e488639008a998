"""Worker pools, for calls that would block a loop."""
