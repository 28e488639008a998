"""The floors of the architecture, held by reading the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

# The floors of the engine, from the ground up: a file may import from its own and those before it.
FLOORS = ["base", "buffers", "connection", "reactor", "server"]
VOCABULARY = {"completion", "sockaddr"}
GROUNDS = ["uring", "fallback"]
ROOMS = [*FLOORS, "pool", *GROUNDS]
CHOOSER = "server/choose.py"  # the one file that knows the grounds
# Files beside `stream.py` that use what is private to a connection: the path of a message, and
# the classes of which a connection is made.
OF_A_STREAM = {
    "connection": [
        *("any_thread", "connection", "packets", "reading", "time_limits", "writing"),
        "deadlines",  # which closes it
    ],
    "reactor": ["callbacks", "held", "reactor", "streams"],
}
# Beside these the root has what a user imports, and what runs `python -m ringnet`.
IN_NO_ROOM = {"__init__.py", "__main__.py", "setup.py", *(f"{name}.py" for name in VOCABULARY)}


def folder(name: str) -> Path:
    return ROOT / (name if name in GROUNDS else f"engine/{name}")


def room(name: str) -> dict[str, Path]:
    files = {file.stem: file for file in folder(name).glob("*.py") if file.stem != "__init__"}
    assert files
    return files


def names_of(file: Path) -> set[str]:
    """What a module imports, also for types only; what is ours begins with a dot, at the root."""
    here = file.relative_to(ROOT).parent.parts
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ["", *here[: len(here) + 1 - node.level]] if node.level else []
            base += [node.module] if node.module else []
            found |= {".".join([*base, name.name]) for name in node.names}
    return found


def ours(name: str) -> str:
    """The room of the package that an import leads to; "" for what is another's."""
    here, first, *more = (*name.split("."), "")
    if here:
        return "by absolute name" if here in {"ringnet", "engine"} else ""
    if first == "engine":
        return more[0]
    return first if first in {*GROUNDS, *VOCABULARY} else "the root"


def rooms_named_by(file: Path) -> set[str]:
    return {ours(name) for name in names_of(file)} - {""}


@pytest.mark.parametrize("number", range(len(FLOORS)), ids=FLOORS)
def test_a_floor_knows_itself_and_what_is_below(number: int) -> None:
    may = {*FLOORS[: number + 1], *VOCABULARY}
    for file in room(FLOORS[number]).values():
        more = set(GROUNDS) if file.match(CHOOSER) else set()
        assert rooms_named_by(file) <= may | more, file.name


def test_pools_know_the_base_only() -> None:
    for file in room("pool").values():
        assert rooms_named_by(file) <= {"pool", "base"}, file.name


@pytest.mark.parametrize("ground", GROUNDS)
def test_the_grounds_know_the_vocabulary_only(ground: str) -> None:
    for file in room(ground).values():
        assert rooms_named_by(file) <= {ground, *VOCABULARY}, file.name


def at_import(node: ast.AST) -> list[ast.AST]:
    """What runs when a module is imported: nothing inside a function, or for types only."""
    found: list[ast.AST] = []
    for child in ast.iter_child_nodes(node):
        is_later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        if not (is_later or is_for_types):
            found += [child, *at_import(child)]
    return found


def test_the_grounds_are_imported_when_they_are_chosen() -> None:
    """An engine on epoll never loads the io_uring core."""
    tree = ast.parse((ROOT / "engine" / CHOOSER).read_text(encoding="utf-8"))
    for node in at_import(tree):
        if isinstance(node, ast.ImportFrom):
            named = {(node.module or "").split(".")[0], *(name.name for name in node.names)}
            assert not named & set(GROUNDS)


def test_the_vocabulary_knows_itself_only() -> None:
    for name in VOCABULARY:
        assert rooms_named_by(ROOT / f"{name}.py") <= VOCABULARY, name


def test_the_root_shows_the_engine() -> None:
    for name in ("__init__.py", "__main__.py"):
        assert rooms_named_by(ROOT / name) <= {*FLOORS, "pool", *VOCABULARY}, name


def test_nothing_is_mixed_in() -> None:
    from ringnet.engine.reactor.reactor import Reactor
    from ringnet.engine.server.engine import Engine

    assert Reactor.__bases__ == Engine.__bases__ == (object,)


def test_files_are_small() -> None:
    for top in ("engine", *GROUNDS, "perf", "tests", "examples"):
        for file in (ROOT / top).rglob("*.[pch]*"):
            if file.suffix in {".py", ".c", ".h"} and "build" not in file.parts:
                assert len(file.read_text(encoding="utf-8").splitlines()) <= 400, file


def test_every_file_has_a_room() -> None:
    assert {file.name for file in ROOT.glob("*.py")} == IN_NO_ROOM
    shown = [top for top in ROOT.iterdir() if top.is_dir() and top.name[0] not in "._"]
    with_code = {top.name for top in shown if any(top.rglob("*.py"))}
    assert with_code - {"build"} == {"engine", *GROUNDS, "tests", "perf", "examples"}
    assert {file.name for file in (ROOT / "engine").glob("*.py")} == {"__init__.py"}
    for top in ("engine", *GROUNDS):
        for file in (ROOT / top).rglob("*.py"):
            where = file.parent.relative_to(ROOT).as_posix().removeprefix("engine/")
            assert where in {*ROOMS, "engine"}, file


def named_by(file: Path, files: dict[str, Path]) -> set[str]:
    """The files that a file imports from, of those given."""
    found = names_of(file)
    return {
        name
        for name, other in files.items()
        if other != file
        and any(f"{found_name}.".startswith(f"{dotted(other)}.") for found_name in found)
    }


def dotted(file: Path) -> str:
    return ".".join(["", *file.relative_to(ROOT).with_suffix("").parts])


def reached_from(name: str, arrows: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    todo = [name]
    while todo:
        new = arrows[todo.pop()] - reached
        reached |= new
        todo += new
    return reached


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Files that name each other, directly or by way of others."""
    reached = {name: reached_from(name, arrows) for name in arrows}
    found = {frozenset(b for b in reached[a] if a in reached[b]) for a in arrows if a in reached[a]}
    return [set(circle) for circle in found]


def test_no_circle() -> None:
    files = {
        dotted(file): file for top in ("engine", *GROUNDS) for file in (ROOT / top).rglob("*.py")
    }
    assert len(files) > 90
    arrows = {name: named_by(file, files) for name, file in files.items()}
    assert sum(map(len, arrows.values())) > 300
    assert circles(arrows) == []


def test_a_circle_is_found() -> None:
    arrows = {
        "low": set[str](),
        "one": {"two", "low"},
        "two": {"three"},
        "three": {"one"},
        "high": {"one"},
    }
    assert circles(arrows) == [{"one", "two", "three"}]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from ...completion import DATA", "completion"),
        ("from ..base.errors import shown", "base"),
        ("if TYPE_CHECKING:\n    from ..server.engine import Engine", "server"),
        ("from .. import server", "server"),
        ("from .stream import Stream", "connection"),
        ("def f():\n    from ...uring import backend", "uring"),
        ("import ringnet.engine", "by absolute name"),
        ("from ringnet import Engine", "by absolute name"),
        ("import os, socket", ""),
        ("from ... import Engine", "the root"),
    ],
)
def test_a_room_is_found(line: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ROOT / "engine" / "connection" / "imagined.py"
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: line)
    assert rooms_named_by(file) == ({name} if name else set())


def written(texts: dict[str, str], folder: Path) -> dict[str, Path]:
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.py" for name in texts}


# Methods of every named tuple, which have the underscore to stay clear of its fields.
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name.strip("_") != ""


def outside_protocols(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        bases = {n.id for n in getattr(child, "bases", []) if isinstance(n, ast.Name)}
        if "Protocol" not in bases:
            yield child
            yield from outside_protocols(child)


def declared_in(tree: ast.AST) -> set[str]:
    """The private names that a file defines: functions, classes, globals, slots, `self._name`.

    Not those that a Protocol states, which are another's.
    """
    found: set[str] = set()
    for node in outside_protocols(tree):
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
            case ast.Call(
                func=ast.Name(id="getattr" | "setattr"), args=[_, ast.Constant(str(name)), *_]
            ):
                found.add(name)
    return {name for name in found if is_private(name)} - OF_NAMED_TUPLES


def inherited_by(tree: ast.AST, trees: dict[str, ast.AST]) -> set[str]:
    """The private names of the bases that its classes have in other files of the room."""
    homes: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            homes |= {name.asname or name.name: node.module.split(".")[-1] for name in node.names}
    bases: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = {base.id for base in node.bases if isinstance(base, ast.Name)}
            bases |= names if "Protocol" not in names else set()  # which has nothing private
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


@pytest.mark.parametrize("name", ROOMS)
def test_private_names_stay_at_home(name: str) -> None:
    abroad = private_names_abroad(room(name))
    connection = room("connection")
    makers = [connection[file] for file in ["stream", *OF_A_STREAM["connection"]]]
    of_a_stream = set().union(*(declared_in(ast.parse(file.read_text())) for file in makers))
    for file in OF_A_STREAM.get(name, []):
        abroad[file] = abroad.get(file, set()) - of_a_stream
    abroad = {file: names for file, names in abroad.items() if names}
    assert abroad == {}


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

    assert (ROOT / "docs" / "options.md").read_text(encoding="utf-8") == table()
