"""perf/: `compare` finds what got worse, and only that."""

from __future__ import annotations

from pathlib import Path

import pytest
from figures.samples import Sample
from perf_tools import record_of, samples
from report.compare import changes, left_out, main
from report.record import BadRecord, read, write


def _run(
    ours: tuple[float, ...],
    limit: tuple[float, ...],
    name: str = "echo-64",
    marks: tuple[str, ...] = (),
) -> list[Sample]:
    return [
        *samples(name, "ringnet-io_uring", *ours, marks=marks),
        *samples(name, "limit-uring", *limit),
    ]


def test_a_slower_machine_is_no_regression() -> None:
    fast = record_of(_run((90, 91, 92), (100, 100, 100)))
    slow = record_of(_run((45, 45, 46), (50, 50, 50)))
    (change,) = changes(fast, slow)
    assert change.factor == pytest.approx(0.9 / 0.91)
    assert not change.is_regression(0.1)


def test_a_lower_ratio_beyond_the_spread_is_one() -> None:
    before = record_of(_run((90, 91, 92), (100, 100, 100)))
    after = record_of(_run((70, 71, 72), (100, 100, 100)))
    (change,) = changes(before, after)
    assert change.is_regression(0.1)
    assert not change.is_regression(0.3)
    (back,) = changes(after, before)
    assert not back.is_regression(0.1)


def test_ratios_that_overlap_are_not() -> None:
    before = record_of(_run((60, 91, 92), (100, 100, 100)))
    after = record_of(_run((55, 71, 72), (100, 100, 100)))
    (change,) = changes(before, after)
    assert change.factor < 0.8
    assert not change.is_regression(0.1)


def test_disturbed_samples_prove_nothing() -> None:
    before = record_of(_run((90, 91), (100, 100)))
    after = record_of(_run((50, 51), (100, 100), marks=("disturbed",)))
    (change,) = changes(before, after)
    assert change.factor < 0.6
    assert not change.is_regression(0.1)


def test_ratios_on_near_and_on_far_cpus_are_not_compared() -> None:
    def at(line_ns: tuple[float, float], ours: float) -> list[Sample]:
        return [
            *samples("echo-64", "ringnet-io_uring", ours, line_ns=line_ns),
            *samples("echo-64", "limit-uring", 100, line_ns=line_ns),
        ]

    near, far = (60.0, 60.0), (330.0, 330.0)
    one, other = record_of(at(near, 90)), record_of(at(far, 60))
    assert not list(changes(one, other))
    (line,) = left_out(one, other, [])
    assert line.startswith("echo-64 ringnet-io_uring: not compared")
    assert not list(left_out(one, one, list(changes(one, one))))
    (change,) = changes(record_of(at(far, 60)), record_of(at(far, 61)))
    assert change.factor == pytest.approx(61 / 60)


def test_where_less_is_better_more_is_worse() -> None:
    before = record_of(_run((500, 500), (50, 50), "idle-memory"))
    after = record_of(_run((900, 900), (50, 50), "idle-memory"))
    (change,) = changes(before, after)
    assert change.factor == pytest.approx(5 / 9)
    assert change.is_regression(0.1)


def test_without_a_c_server_another_peer_is_the_measure() -> None:
    one = record_of(
        [*samples("http", "ringnet-epoll", 90), *samples("http", "uvloop", 60),
         *samples("http", "nginx", 99)]
    )  # fmt: skip
    (change,) = changes(one, one)
    assert (change.reference, change.factor) == ("uvloop", 1.0)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = record_of([*_run((1, 2), (3, 4)), *samples("sink", "gnet", 1, line_ns=(60.0, 61.0))])
    write(made, tmp_path / "a.json")
    again = read(tmp_path / "a.json")
    assert again.samples == made.samples
    assert again.made == made.made


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', '{"format": 1, "samples": [{}]}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadRecord):
        read(tmp_path / "a.json")


def test_the_exit_status_is_for_ci(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = str(tmp_path / "a.json"), str(tmp_path / "b.json")
    write(record_of(_run((90, 91), (100, 100))), Path(a))
    write(record_of(_run((50, 51), (100, 100))), Path(b))
    assert main([a, b]) == 1
    assert "ringnet-io_uring" in capsys.readouterr().out
    assert main([b, a]) == 0
    assert main([a, b, "--threshold", "0.5"]) == 0
    assert main([a, str(tmp_path / "none.json")]) == 2
