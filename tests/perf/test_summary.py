"""perf/: medians, ratios and targets are computed as the page says."""

from __future__ import annotations

import pytest
from figures.samples import (
    DISTURBED,
    FAR,
    LOAD_LIMITED,
    MOVED,
    NEAR,
    OVERLOADED,
    UNKNOWN,
    Sample,
    marks_of,
)
from figures.summary import better_limit, of_scenario, ratios, spread, summarize
from perf_tools import samples
from report.targets import Target, judged, reached


def test_a_spread_has_the_median_and_the_ends() -> None:
    found = spread([3.0, 1.0, 2.0, 10.0])
    assert (found.least, found.middle, found.most) == (1.0, 2.5, 10.0)
    assert found.share == pytest.approx(1.8)


def test_a_ratio_is_the_median_of_the_runs_ratios() -> None:
    ours = summarize(samples("echo-64", "a", 100, 20, 90))
    theirs = summarize(samples("echo-64", "b", 50, 10, 60))
    found = ratios(ours, theirs)[UNKNOWN]
    assert (found.least, found.middle, found.most) == (1.5, 2.0, 2.0)


def test_runs_that_one_of_them_lacks_do_not_count() -> None:
    ours = summarize(samples("echo-64", "a", 100, 200, 300))
    theirs = summarize(samples("echo-64", "b", 100))
    found = ratios(ours, theirs)[UNKNOWN]
    assert found.middle == 1.0
    assert ratios(ours, summarize(samples("echo-64", "c", 0.0))) == {}


def _at(peer: str, *values: tuple[float, tuple[float, ...]]) -> list[Sample]:
    return [
        Sample("echo-64", peer, "", run, value, line_ns=line_ns)
        for run, (value, line_ns) in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("line_ns", "distance"),
    [((), UNKNOWN), ((0, 0), UNKNOWN), ((60, 0), UNKNOWN), ((60, 110), NEAR), ((300, 350), FAR),
     ((60, 330), MOVED), ((330, 60), MOVED)],
)  # fmt: skip
def test_how_far_the_cpus_are_from_each_other(line_ns: tuple[float, ...], distance: str) -> None:
    assert _at("a", (1, line_ns))[0].distance == distance


def test_what_was_done_on_cpus_near_and_far_is_not_compared() -> None:
    near, far, moved = (60.0, 60.0), (330.0, 330.0), (60.0, 330.0)
    ours = summarize(_at("a", (200, near), (210, near), (120, far), (150, moved), (100, far)))
    theirs = summarize(_at("b", (100, near), (60, far), (100, far), (75, moved), (80, far)))
    found = ratios(ours, theirs)
    assert {distance: one.middle for distance, one in found.items()} == {
        NEAR: 2.0,
        FAR: pytest.approx((1.2 + 1.25) / 2),
    }
    assert list(found) == [NEAR, FAR]


@pytest.mark.parametrize(("higher", "best"), [(True, "two"), (False, "one")])
def test_of_variants_the_better_one_counts(higher: bool, best: str) -> None:
    both = [
        *samples("echo-64", "gnet", 10, 11, 12, variant="one"),
        *samples("echo-64", "gnet", 20, 9, 21, variant="two"),
    ]
    assert of_scenario(both, "echo-64", higher)["gnet"].variant == best


@pytest.mark.parametrize(("higher", "better"), [(True, "limit-epoll"), (False, "limit-uring")])
def test_the_limit_is_the_better_c_server(higher: bool, better: str) -> None:
    both = [*samples("sink", "limit-uring", 5), *samples("sink", "limit-epoll", 6)]
    limit = better_limit(of_scenario(both, "sink", True), higher)
    assert limit is not None
    assert limit.peer == better
    assert better_limit({}, higher) is None


def test_latencies_and_cpu_time_are_medians_of_what_is_there() -> None:
    made = summarize(
        [
            *samples("echo-64", "a", 1, cpu_us=4.0, latency_us={"p50": 10.0, "p99": 90.0}),
            *samples("echo-64", "a", 1, cpu_us=6.0, latency_us={"p50": 30.0}),
            *samples("echo-64", "a", 1),
        ]
    )
    assert made.cpu_us == 5.0
    assert made.latency_us == {"p50": 20.0, "p99": 90.0}
    assert made.server_share is None


def _answer(load: float, others: float, messages: int) -> dict[str, float]:
    return {
        "seconds": 2.0,
        "load_cpu_seconds": load,
        "others_cpu_seconds": others,
        "messages": messages,
    }


@pytest.mark.parametrize(
    ("answer", "rate", "marks"),
    [
        (_answer(1.0, 0.0, 2000), 0, ()),
        (_answer(1.99, 0.0, 2000), 0, (LOAD_LIMITED,)),
        (_answer(1.0, 0.3, 2000), 0, (DISTURBED,)),
        (_answer(1.0, 0.0, 1999), 1000, ()),
        (_answer(2.0, 0.3, 1900), 1000, (LOAD_LIMITED, DISTURBED, OVERLOADED)),
    ],
)
def test_what_is_wrong_with_a_sample(
    answer: dict[str, float], rate: float, marks: tuple[str, ...]
) -> None:
    assert marks_of(answer, rate) == marks


def test_a_target_by_cpu_time_compares_cpu_time() -> None:
    found = of_scenario(
        [
            *samples("echo-64", "ringnet-io_uring", 200, cpu_us=4.4),
            *samples("echo-64", "limit-uring", 100, cpu_us=4.0),
        ],
        "echo-64",
        True,
    )
    target = Target("echo-64", "limit-uring", 1.10, at_most=True, of="cpu")
    (value,) = reached(target, found).values()
    assert value.middle == pytest.approx(1.1)
    assert reached(Target("echo-64", "uvloop", 1.4), found) == {}


def test_targets_are_judged_where_both_sides_were_measured() -> None:
    found = [
        *samples("echo-64", "ringnet-io_uring", 150, cpu_us=4.0),
        *samples("echo-64", "uvloop", 100, cpu_us=6.0),
        *samples("idle-memory", "ringnet-io_uring", 1025),
    ]
    verdicts = {(one.scenario, one.text): one.met for one in judged(found)}
    assert verdicts == {
        ("echo-64", "io_uring at least 1.40 of uvloop"): True,
        ("idle-memory", "at most 1024 bytes"): False,
    }


def test_many_connections_are_judged_against_fifty() -> None:
    found = [
        *samples("echo-64", "ringnet-io_uring", 90, 90),
        *samples("echo-64", "limit-uring", 100, 100),
        *samples("connections-500", "ringnet-io_uring", 60, 70),
        *samples("connections-500", "limit-uring", 100, 100),
    ]
    verdict = next(one for one in judged(found) if one.scenario == "connections-500")
    assert not verdict.met
    assert verdict.reached == pytest.approx(0.65 / 0.9)
