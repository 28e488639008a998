"""perf/: the page says what was measured."""

from __future__ import annotations

import pytest
from figures.samples import Sample
from figures.summary import of_scenario
from measuring.scenarios import SCENARIOS
from perf_tools import record_of, samples
from report import obstacles, targets
from report.pages import columns, markdown, number, page, rows


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.1234, "0.123"), (4.567, "4.57"), (45.67, "45.7"), (123456.7, "123,457")],
)
def test_numbers_have_three_digits_that_count(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_row_has_ratios_spread_and_marks() -> None:
    scenario = SCENARIOS["echo-64"]
    found = of_scenario(
        [
            *samples("echo-64", "ringnet-io_uring", 150, 170, 160, cpu_us=5.0,
                     server_share=0.99, load_share=0.5, latency_us={"p50": 240.0}),
            *samples("echo-64", "limit-uring", 200, 200, 200, marks=("load-limited",)),
            *samples("echo-64", "gnet", 80, 80, 80, variant="GOMAXPROCS=1"),
        ],
        "echo-64",
        True,
    )  # fmt: skip
    made = [dict(zip(columns(scenario)[1:], row[1:], strict=True)) for row in rows(scenario, found)]
    assert [row[0] for row in rows(scenario, found)] == [
        "limit-uring",
        "ringnet-io_uring",
        "gnet (GOMAXPROCS=1)",
    ]
    ours = made[1]
    assert (ours["kmsg/s"], ours["±"], ours["us/msg"]) == ("160", "6%", "5.00")
    assert (ours["x limit"], ours["x gnet"], ours["x uvloop"]) == ("0.80", "2.00", "")
    assert (ours["server %"], ours["load %"], ours["p50"]) == ("99", "50", "240")
    assert made[0][""] == "*3/3"


def test_the_lowest_is_first_where_less_is_better() -> None:
    scenario = SCENARIOS["idle-memory"]
    found = of_scenario(
        [*samples("idle-memory", "uvloop", 1200), *samples("idle-memory", "gnet", 500)],
        "idle-memory",
        False,
    )
    assert [row[0] for row in rows(scenario, found)] == ["gnet", "uvloop"]


def test_a_table_in_markdown() -> None:
    assert list(markdown(("a", "b"), [("1", "2")])) == ["| a | b |", "|---|--:|", "| 1 | 2 |"]


def test_the_page_names_the_machine_the_marks_and_who_was_left_out() -> None:
    made = record_of(
        [
            *samples("echo-64", "ringnet-io_uring", 150, marks=("disturbed",)),
            *samples("echo-64", "uvloop", 100),
        ]
    )
    text = "\n".join(page(made, ["throughput"]))
    assert "2026-01-02, commit abc: a CPU, 2 CPUs" in text
    assert "![throughput](throughput.svg)" in text
    assert "| echo-64 | io_uring at least 1.40 of uvloop | 1.50 | 1.50..1.50 | yes |" in text
    assert "- ~ samples in which other processes used the CPUs" in text
    assert "- nginx: there is no nginx: apt install nginx-light" in text


def test_two_ratios_where_the_cpus_were_near_and_far() -> None:
    near, far, moved = (60.0, 70.0), (330.0, 320.0), (60.0, 320.0)
    found = []
    for run, (line_ns, ours) in enumerate([(near, 150), (far, 110), (moved, 190)]):
        for peer, value in (("ringnet-io_uring", ours), ("uvloop", 100)):
            found.append(Sample("echo-64", peer, "", run, value, line_ns=line_ns))
    text = "\n".join(page(record_of(found), []))
    assert "| echo-64 | io_uring at least 1.40 of uvloop | 1.50 / 1.10 | 1.50..1.50 | yes |" in text
    assert "shared no cache in 2 of 6 samples" in text
    assert "ceased to in 2:" in text
    only_far = "\n".join(page(record_of(found[2:4]), []))
    assert "| io_uring at least 1.40 of uvloop | / 1.10 | 1.10..1.10 | no" in only_far
    only_near = "\n".join(page(record_of(found[:2]), []))
    assert "| io_uring at least 1.40 of uvloop | 1.50 | 1.50..1.50 | yes |" in only_near
    assert "cache" not in only_near


def test_every_obstacle_is_of_a_target() -> None:
    keys = set(targets.keys().values())
    assert obstacles.OBSTACLES.keys() <= keys | {key.partition(" ")[0] for key in keys}


def test_a_target_that_is_not_met_says_what_stands_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = {"echo-64": "TCP.", "echo-64 gnet": "Go.", "echo-1k uvloop": "TCP.", "sink gnet": "-"}
    monkeypatch.setattr(obstacles, "OBSTACLES", texts)
    found = [
        *samples("echo-64", "ringnet-io_uring", 100),
        *samples("echo-64", "uvloop", 100),
        *samples("echo-64", "gnet", 90),
        *samples("echo-64", "ringnet-epoll", 150),
        *samples("echo-64", "asyncio", 100),
        *samples("echo-1k", "ringnet-io_uring", 100),
        *samples("echo-1k", "uvloop", 100),
        *samples("echo-1k", "gnet", 100),
    ]
    lines = list(page(record_of(found), []))
    rows = [line.strip("| ").split(" | ") for line in lines if line.count(" | ") == 4]
    met = {(scenario, target): met for scenario, target, _, _, met in rows}
    assert met == {
        ("scenario", "target"): "met",
        ("echo-64", "io_uring at least 1.40 of uvloop"): "no (1)",
        ("echo-64", "io_uring at least 1.40 of gnet"): "no (2)",
        ("echo-64", "epoll at least 1.20 of asyncio"): "yes",
        ("echo-1k", "io_uring at least 1.40 of uvloop"): "no (1)",
        ("echo-1k", "io_uring at least 1.40 of gnet"): "no; why is not known",
    }
    assert [line for line in lines if line[:1].isdigit() and ". " in line[:3]] == [
        "1. TCP.",
        "2. Go.",
    ]
