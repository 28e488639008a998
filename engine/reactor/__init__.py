"""One thread and one backend: the loop, and the parts that it owns."""
