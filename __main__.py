"""`python -m ringnet doctor`: what this machine can run, and why not the rest."""

from __future__ import annotations

import sys

from .engine.server.doctor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
