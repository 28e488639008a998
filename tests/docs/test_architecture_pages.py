"""What the pages for developers name is there: files, classes with their members, and the imports
that the diagram of the rooms shows."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from places import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
FOR_DEVELOPERS = ("architecture.md", "ends.md", "threads.md", "backends.md")
CODE = ("engine", "uring", "fallback")
FOLDERS = (*CODE, "tests", "examples", "perf")
FILE = re.compile(r"`((?:[\w.]+/)*\w+\.(?:py|c|h|sh|toml|json))`")
MEMBER = re.compile(r"\b([A-Z]\w+)\.(_?[a-z]\w*)")


@cache
def sources() -> dict[Path, ast.Module]:
    files = [file for top in CODE for file in (ROOT / top).rglob("*.py")]
    assert len(files) > 90
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}


def defined_in(tree: ast.AST) -> set[str]:
    """Functions, classes, names and attributes of `self` that are set, and slots."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                found.add(name)
    return found


@cache
def members() -> dict[str, set[str]]:
    """What classes have, also by what they inherit; the same name in two files counts as one."""
    own: dict[str, set[str]] = defaultdict(set)
    bases: dict[str, set[str]] = defaultdict(set)
    for tree in sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                own[node.name] |= defined_in(node)
                bases[node.name] |= {base.id for base in node.bases if isinstance(base, ast.Name)}

    def all_of(name: str) -> set[str]:
        return own[name].union(*(all_of(base) for base in bases[name] if base in own))

    return {name: all_of(name) for name in list(own)}


def text_of(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    section = text_of(page).partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    assert len(lines) > 5, heading
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines[2:]]


def missing_files(text: str) -> list[str]:
    def is_there(name: str) -> bool:
        if "/" in name or (ROOT / name).exists():
            return (ROOT / name).exists()
        return any(next((ROOT / top).rglob(name), None) for top in FOLDERS)

    return [name for name in FILE.findall(text) if not is_there(name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_that_a_page_names_are_there(page: Path) -> None:
    assert missing_files(page.read_text(encoding="utf-8")) == []


def missing_members(text: str) -> list[str]:
    return [
        f"{owner}.{name}"
        for owner, name in MEMBER.findall(text)
        if owner in members() and name not in members()[owner]
    ]


@pytest.mark.parametrize("page", FOR_DEVELOPERS)
def test_the_members_that_a_page_names_are_there(page: str) -> None:
    assert missing_members(text_of(page)) == []


def names_by_file(cell: str) -> list[tuple[str, list[str]]]:
    """As in "`a/b.py`: `f`, `g`; and `c.c`: `h`"."""
    parts = re.split(r"(`[\w/]+\.(?:py|c)`)", cell)
    return [
        (file.strip("`"), re.findall(r"`(\w+)`", names))
        for file, names in zip(parts[1::2], parts[2::2], strict=True)
    ]


def lacks(file: str, name: str) -> bool:
    path = ROOT / file
    if path.suffix == ".c":
        return not re.search(rf"\b{name}\(", path.read_text(encoding="utf-8"))
    return name not in defined_in(sources()[path])


def test_where_to_look() -> None:
    found = rows("architecture.md", "Where to look")
    pairs = [pair for row in found for pair in names_by_file(row[1])]
    assert len(pairs) > 25
    assert [(file, name) for file, names in pairs for name in names if lacks(file, name)] == []


def test_the_owners_and_their_parts() -> None:
    found = rows("architecture.md", "Who owns what")
    for _, parts, cell, _ in found:
        trees = [sources()[ROOT / file] for file, _ in names_by_file(cell)]
        for name in re.findall(r"`(\w+)`", parts):
            assert any(name in defined_in(tree) for tree in trees), name


# The diagram of the rooms

ARROW = re.compile(r"^ *(\w+) (?:-->|-\. .* \.->) (\w+)$", re.MULTILINE)
OF_A_ROOM = re.compile(r"^\s*from (\.{2,3})(\w+)", re.MULTILINE)


def imports() -> set[tuple[str, str]]:
    """Which room imports from which."""
    found = set()
    for file in sources():
        here = file.parent.relative_to(ROOT).parts
        for dots, room in OF_A_ROOM.findall(file.read_text(encoding="utf-8")):
            is_of_the_root = len(dots) == len(here) + 1
            found.add((here[-1], "completion" if is_of_the_root and room == "sockaddr" else room))
    return {(a, b) for a, b in found if a != b}


def test_the_diagram_of_the_rooms() -> None:
    """Each arrow is an import, and each import is an arrow or several in a row."""
    drawn = {(a, b) for a, b in ARROW.findall(text_of("architecture.md")) if a != "face"}
    assert len(drawn) == 10
    real = imports()
    assert drawn <= real
    reached = set(drawn)
    while more := {(a, d) for a, b in reached for c, d in drawn if b == c} - reached:
        reached |= more
    assert real <= reached


def test_what_is_not_there_is_found() -> None:
    assert missing_files("`engine/base/nothing.py` `nothing.c` `engine/base/logs.py` `core.h`") == [
        "engine/base/nothing.py",
        "nothing.c",
    ]
    text = "`Streams.on_eof`, Streams.nothing, Connection._finish, Other.thing, Reactor.connections"
    assert missing_members(text) == ["Streams.nothing"]
    assert lacks("uring/core/slots.c", "nothing")
    assert lacks("engine/reactor/streams.py", "nothing")
