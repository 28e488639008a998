"""Figures in README and docs are those of the code."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any

import pytest
import ringnet
from places import ROOT
from ringnet.uring.probe import OLDEST_KERNEL

PAGES = ("README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")))
ROOMS = ("engine", "uring", "fallback")
OPTIONS = {field.name: field.default for field in fields(ringnet.Options)}
UNNAMED = [  # bounds that are no option's and no constant's alone
    "descriptors",
    "of these, for one full receiver",
    "tasks of a worker pool",
    "dials in progress",
    "time for one request",
    "log lines of one kind: one class of error, raised in one line of code",
]
UNITS = {"": 1, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
QUANTITY = re.compile(r"\b(\d[\d,]*(?:\.\d+)?|off)\b(?: (s|KiB|MiB|GiB)\b)?")


def text_of(page: str) -> str:
    """With a space for each line's end."""
    return " ".join((ROOT / page).read_text(encoding="utf-8").split())


def quantities(text: str) -> list[float]:
    """Numbers times their units; what is off is 0."""
    return [
        0.0 if number == "off" else float(number.replace(",", "")) * UNITS[unit]
        for number, unit in QUANTITY.findall(text)
    ]


def constants(file: Path) -> Iterator[tuple[str, Any]]:
    """Those at the top of a file that are literals."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if isinstance(target, ast.Name):
                yield target.id, node.value.value


def constant(name: str) -> float:
    """The value of the package's one constant with that name."""
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    (value,) = [value for file in files for known, value in constants(file) if known == name]
    return float(value)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the doctor of io_uring")
def test_the_versions_that_readme_asks_for() -> None:
    text = text_of("README.md")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {f">={version}" for version in re.findall(r"Python (\d\.\d+) or newer", text)}
    assert asked == {project["requires-python"]}
    assert set(re.findall(r"Linux (\d\.\d+) or newer", text)) == {OLDEST_KERNEL}
    (faster,) = re.findall(r"\((\d\.\d+) and (\d\.\d+) each make it faster\)", text)
    command = [sys.executable, "-m", "ringnet", "doctor"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
    assert re.findall(r"(?:defer_taskrun|incremental_buffers) .*\((.+)\)", said) == list(faster)


@pytest.mark.parametrize("page", PAGES)
def test_defaults_in_running_text(page: str) -> None:
    """As in "`high_water` (1 MiB)", or "`close_timeout` is 30 s by default"."""
    text = text_of(page)
    stated = re.findall(r"`(\w+)` \(([\d.,]+ ?\w*)[);]", text)
    stated += re.findall(r"`(\w+)` is ([\d.,]+ \w+) by default", text)
    for name, value in stated:
        if name in OPTIONS:
            assert quantities(value) == [float(OPTIONS[name])], name


def bounds() -> list[list[str]]:
    """The rows of the table of bounds in docs/security.md: what, bound, default, beyond."""
    lines = (ROOT / "docs" / "security.md").read_text(encoding="utf-8").splitlines()
    rows = [re.split(r" *\| *", line)[1:-1] for line in lines if line[:1] == "|"]
    first = rows.index(["what could grow", "bound", "default", "beyond it"])
    return [row for row in rows[first + 2 :] if len(row) == 4]


def bound_values(bound: str) -> list[float]:
    """Of the options and constants that a cell names, in their order; "a x b" is a product."""
    values = []
    for part in re.findall(r"`\w+`(?: x `\w+`)*", bound):
        names = re.findall(r"`(\w+)`", part)
        if names[0].isupper():
            values.append(constant(names[0]))
        elif set(names) <= OPTIONS.keys():
            values.append(prod(float(OPTIONS[name]) for name in names))
    return values


def test_the_bounds_of_the_security_page() -> None:
    """Each row with a default names the option or the constant, which has that value."""
    unnamed, wrong = [], {}
    for what, bound, default, _ in bounds():
        stated, true = quantities(default), bound_values(bound)
        if not stated or not true:
            unnamed.append(what)
        elif stated != true and set(stated) != set(true):  # "off" is said once for two options
            wrong[what] = (stated, true)
    assert wrong == {}
    assert unnamed == UNNAMED
