"""Where the things of the repository are, for tests in any room."""

from __future__ import annotations

from pathlib import Path

TOOLS = Path(__file__).resolve().parent
TESTS = TOOLS.parent
ROOT = TESTS.parent
