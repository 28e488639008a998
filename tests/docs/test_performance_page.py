"""docs/performance.md is what perf's report makes of a recorded run, and nobody has edited it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from perf_tools import record_of, samples
from places import ROOT
from report import pages, plots, targets
from report.obstacles import obstacle
from report.record import Record, read

DOCS = ROOT / "docs"
WITHOUT_RECORD = "The record of this run was not kept, so no test can compare the tables with it."


def rendered(made: Record, text: str) -> str:
    """The page of a record, with the plots that a page has."""
    drawn = re.findall(r"^!\[(\w+)\]\(\1\.svg\)$", text, re.MULTILINE)
    return "\n".join(pages.page(made, drawn)) + "\n"


def test_the_page_is_what_its_record_renders() -> None:
    text = (DOCS / pages.PAGE).read_text(encoding="utf-8")
    if (DOCS / pages.RECORD).exists():
        assert text == rendered(read(DOCS / pages.RECORD), text)
    else:
        assert text.startswith(f"{pages.HEAD}\n{WITHOUT_RECORD}\n")


def test_a_report_has_the_page_and_its_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "draw", lambda made, folder: ["throughput"])
    made = record_of([*samples("echo-64", "uvloop", 100), *samples("echo-64", "gnet", 90)])
    pages.write(made, tmp_path)
    text = (tmp_path / pages.PAGE).read_text(encoding="utf-8")
    assert "![throughput](throughput.svg)" in text
    assert text == rendered(read(tmp_path / pages.RECORD), text)


def target_rows() -> list[list[str]]:
    """Of the published page: scenario, target, reached, spread, met."""
    _, _, rest = (DOCS / pages.PAGE).read_text(encoding="utf-8").partition("\n## Targets\n")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line[:1] == "|"]
    return [line.strip("| ").split(" | ") for line in lines[2:]]


def test_the_page_has_the_targets_of_today() -> None:
    known = targets.keys()
    assert len(target_rows()) > 40
    assert [row for row in target_rows() if (row[0], row[1]) not in known] == []


def test_the_page_says_what_stands_in_the_way_as_obstacles_has_it() -> None:
    text = (DOCS / pages.PAGE).read_text(encoding="utf-8")
    listed = dict(re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE))
    used = set()
    for scenario, target, _, _, met in target_rows():
        number = re.fullmatch(r"yes|no \((\d+)\)", met)
        assert number, met
        if number[1]:
            used.add(number[1])
            assert listed[number[1]] == obstacle(targets.keys()[scenario, target])
    assert used == listed.keys()
