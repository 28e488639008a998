"""The floors of the architecture, held by reading the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from_root = Path(__file__).parent.parent
SHARED = {"completion", "sockaddr"}  # plain vocabulary


def imported(file: Path) -> set[str]:
    """The folders of the package that a module imports from."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ringnet"):
            found.add("by absolute name")
    return found


@pytest.mark.parametrize("ground", ["uring", "fallback"])
def test_the_grounds_know_the_vocabulary_only(ground: str) -> None:
    files = list((from_root / ground).glob("*.py"))
    assert files
    for file in files:
        assert imported(file) <= SHARED, file.name


def test_one_module_of_the_engine_imports_backends() -> None:
    users = {f.name for f in (from_root / "engine").glob("*.py") if imported(f) - SHARED}
    assert users == {"choose.py"}


def test_the_core_speaks_the_vocabulary() -> None:
    from ringnet import completion
    from ringnet.uring._ring import lib

    for number, name in completion.KIND_NAMES.items():
        assert getattr(lib, f"RN_{name}") == number
    assert (lib.RN_GRACEFUL, lib.RN_NOW, lib.RN_RESET, lib.RN_LEAVE) == (
        completion.GRACEFUL,
        completion.NOW,
        completion.RESET,
        completion.LEAVE,
    )


def test_the_page_of_options_is_true() -> None:
    from make_options_table import table

    assert (from_root / "docs" / "options.md").read_text(encoding="utf-8") == table()
