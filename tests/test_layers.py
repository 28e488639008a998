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


def named_by(file: Path, room: dict[str, Path]) -> set[str]:
    """The files of a room that a file of it imports from, for types only as well."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module} if node.module else {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom | ast.Import):
            modules = [node.module or "" if isinstance(node, ast.ImportFrom) else ""]
            modules += [name.name for name in node.names]
            assert not any(m.startswith(("ringnet", "engine")) for m in modules), file.name
    return {name for name in found if name in room and room[name] != file}


def reached_from(name: str, arrows: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    todo = [name]
    while todo:
        new = arrows[todo.pop()] - reached
        reached |= new
        todo += new
    return reached


def circles(room: dict[str, Path]) -> list[set[str]]:
    """Files that name each other, directly or by way of others."""
    arrows = {name: named_by(file, room) for name, file in room.items()}
    reached = {name: reached_from(name, arrows) for name in room}
    found = {frozenset(b for b in reached[a] if a in reached[b]) for a in room if a in reached[a]}
    return [set(circle) for circle in found]


def test_no_circle() -> None:
    room = {file.stem: file for file in (from_root / "engine").glob("*.py")}
    assert len(room) > 50
    assert circles(room) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    texts = {
        "low": "from os import path",
        "one": "from .two import x\nfrom .low import y",
        "two": "if TYPE_CHECKING:\n    from .three import X",
        "three": "from . import one",
        "high": "from .one import x",
    }
    room = {name: tmp_path / f"{name}.py" for name in texts}
    for name, text in texts.items():
        room[name].write_text(text, encoding="utf-8")
    assert circles(room) == [{"one", "two", "three"}]


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
