"""perf/: which room may import which, no circle among the files, and private names at home."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter

import pytest
from places import ROOT

PERF = ROOT / "perf"
ROOMS = {  # and what each may import from
    "figures": {"figures"},
    "measuring": {"figures", "measuring"},
    "report": {"figures", "measuring", "report"},
    "": {"figures", "measuring", "report"},  # the commands
}
FILES = {
    f"{room}/{file.stem}".lstrip("/"): file
    for room in ROOMS
    for file in (PERF / room).glob("*.py")
    if file.stem != "__init__"
}


def room_of(name: str) -> str:
    return name.rpartition("/")[0]


def imported(name: str) -> set[str]:
    """The files of perf/ that one imports, for types only as well."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.replace(".", "/") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = room_of(name) if node.level else ""
            module = "/".join(filter(None, [home, *(node.module or "").split(".")]))
            found |= {module, *(f"{module}/{alias.name}" for alias in node.names)}
    return found & FILES.keys()


def private_names(name: str) -> set[str]:
    """What one imports or reads though its name begins with an underscore and is made elsewhere."""
    used, made = set[str](), set[str]()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Attribute):
            (made if isinstance(node.ctx, ast.Store) else used).add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            made.add(node.name)
    return {one for one in used - made if one.startswith("_") and not one.startswith("__")}


def test_there_are_files_in_every_room_and_none_beside_them() -> None:
    assert {room_of(name) for name in FILES} == ROOMS.keys()
    scripts = {"peers"}  # each run by itself, as `python perf/peers/NAME.py`
    folders = {file.parent.name for file in PERF.glob("*/*.py")}
    assert folders == ROOMS.keys() - {""} | scripts


@pytest.mark.parametrize("name", FILES)
def test_a_room_imports_what_it_may(name: str) -> None:
    assert {room_of(one) for one in imported(name)} <= ROOMS[room_of(name)]


def test_no_circle() -> None:
    arrows = {name: imported(name) for name in FILES}
    assert arrows["report/pages"] > {"report/record", "figures/samples", "measuring/scenarios"}
    list(TopologicalSorter(arrows).static_order())  # raises CycleError


@pytest.mark.parametrize("name", FILES)
def test_private_names_are_used_at_home(name: str) -> None:
    assert private_names(name) == set()
