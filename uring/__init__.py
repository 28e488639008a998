"""The io_uring ground: the C core, its face for Python, and the probe of what a kernel can do."""
