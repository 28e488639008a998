"""What a sample is, and what is computed from samples: data and arithmetic, no I/O."""
