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


def room(name: str) -> dict[str, Path]:
    files = {file.stem: file for file in (from_root / name).glob("*.py")}
    assert files
    return files


@pytest.mark.parametrize("name", ["engine", "uring", "fallback"])
def test_no_circle(name: str) -> None:
    assert circles(room(name)) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    texts = {
        "low": "from os import path",
        "one": "from .two import x\nfrom .low import y",
        "two": "if TYPE_CHECKING:\n    from .three import X",
        "three": "from . import one",
        "high": "from .one import x",
    }
    assert circles(written(texts, tmp_path)) == [{"one", "two", "three"}]


def written(texts: dict[str, str], folder: Path) -> dict[str, Path]:
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.py" for name in texts}


# Methods of every named tuple, which have the underscore to stay clear of its fields.
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name.strip("_") != ""


def declared_in(tree: ast.AST) -> set[str]:
    """The private names that a file defines: functions, classes, globals, slots, `self._name`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Assign(targets=[ast.Name(id="__slots__")], value=value):
                found |= {n.value for n in ast.walk(value) if isinstance(n, ast.Constant)}
    return {name for name in found if is_private(name)}


def used_in(tree: ast.AST) -> set[str]:
    """The private names that a file takes of any object, or imports from another file."""
    modules: set[str] = set()
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules |= {name.asname or name.name for name in names}
            case ast.ImportFrom(module=str(), names=names):
                found |= {name.name for name in names}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=module)) if module in modules:
                continue  # `os._exit`
            case ast.Attribute(attr=name):
                found.add(name)
    return {name for name in found if is_private(name)} - OF_NAMED_TUPLES


def inherited_by(tree: ast.AST, trees: dict[str, ast.AST]) -> set[str]:
    """The private names of the bases that its classes have in other files of the room."""
    homes: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            homes |= {name.asname or name.name: node.module.split(".")[-1] for name in node.names}
    bases = {n.id for c in ast.walk(tree) if isinstance(c, ast.ClassDef) for n in c.bases
             if isinstance(n, ast.Name)}  # fmt: skip
    found: set[str] = set()
    for home in {homes[base] for base in bases if base in homes} & trees.keys():
        found |= declared_in(trees[home]) | inherited_by(trees[home], trees)
    return found


def private_names_abroad(room: dict[str, Path]) -> dict[str, set[str]]:
    """For each file of a room the private names that it uses and another file defines."""
    trees: dict[str, ast.AST] = {
        name: ast.parse(file.read_text(encoding="utf-8")) for name, file in room.items()
    }
    abroad = {
        name: used_in(tree) - (declared_in(tree) - inherited_by(tree, trees))
        for name, tree in trees.items()
    }
    return {name: names for name, names in abroad.items() if names}


@pytest.mark.parametrize("ground", ["uring", "fallback"])
def test_private_names_stay_at_home(ground: str) -> None:
    assert private_names_abroad(room(ground)) == {}


def test_a_private_name_abroad_is_found(tmp_path: Path) -> None:
    texts = {
        "home": "class A:\n    __slots__ = ('_a',)\n    def _b(self): self._a = self._b()",
        "user": "from .home import A\ndef f(a: A): return a._a, a.__class__, os._exit",
        "writer": "def f(a): a._a = 1",
        "importer": "from .lines import _most\nimport os\nos._exit(1)",
        "heir": "from .home import A\nclass B(A):\n    def f(self): self._a = self._c = 1",
    }
    assert private_names_abroad(written(texts, tmp_path)) == {
        "user": {"_a", "_exit"},
        "writer": {"_a"},
        "importer": {"_most"},
        "heir": {"_a"},
    }


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
