"""The pages about gnet are true: what they name is there, and each row has tests and an example."""

from __future__ import annotations

import builtins
import inspect
import re
from dataclasses import fields

import pytest
import ringnet
from places import ROOT, TESTS

HOMES = {"conn": ringnet.Connection, "loop": ringnet.EventLoop}


def rows(page: str, columns: int) -> list[list[str]]:
    """The cells of the rows of all tables of a page with so many columns."""
    lines = (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines()
    cells = [
        [cell.strip() for cell in line[1:-1].split(" | ")] for line in lines if line[:1] == "|"
    ]
    return [row for row in cells if len(row) == columns and "---" not in row[0]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def keywords() -> set[str]:
    """What may be given as `name=` to an engine or a pool."""
    pools = [ringnet.WorkerPool, ringnet.MultiPool]
    named = {name for pool in pools for name in inspect.signature(pool).parameters}
    return named | {field.name for field in fields(ringnet.Options)}


def exists(name: str) -> bool:
    if name.endswith("="):
        return name[:-1] in keywords()
    head, _, member = name.partition("(")[0].partition(".")
    if member:
        return member in dir(HOMES.get(head) or getattr(ringnet, head))
    return hasattr(ringnet, head) or hasattr(builtins, head)


def test_every_name_here_is_there() -> None:
    named = [name for row in rows("from_gnet.md", 2) for name in quoted(row[1])]
    assert len(named) > 100
    assert [name for name in named if not exists(name)] == []


FEATURES = [row for row in rows("features.md", 5) if row[0]]
WITHOUT_EXAMPLE = ("R7", "R12")  # they show in what other examples do


@pytest.mark.parametrize("row", FEATURES, ids=lambda row: row[0])
def test_each_feature_has_tests_and_an_example(row: list[str]) -> None:
    tests = quoted(row[3])
    assert tests or row[0] == "R1"  # which all of them show
    for name in tests:
        if name.startswith("test_"):
            assert list(TESTS.rglob(f"{name}.py")), name
    examples = re.findall(r"\]\(\.\./(examples/\w+\.py)\)", row[4])
    assert examples or row[0] in WITHOUT_EXAMPLE
    for example in examples:
        assert (ROOT / example).exists(), example


def test_all_rows_are_there() -> None:
    names = [row[0] for row in FEATURES]
    assert names[:20] == [f"G{n}" for n in range(1, 21)]
    assert names[20:] == ["R1", *(f"R{n}" for n in range(3, 11)), "R12"]
