"""The report: a table for each scenario, on the terminal and as a page with plots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from figures.areas import AREAS, KERNEL_AREAS, Profile
from figures.samples import FAR, MARKS, MEANINGS, MOVED, NEAR_NS, Sample
from figures.summary import Summary, better_limit, of_scenario, ratios
from measuring.scenarios import SCENARIOS, Scenario

from . import plots, record, targets
from .obstacles import obstacle
from .record import Record

if TYPE_CHECKING:
    from rich.table import Table

REFERENCES = ("limit", "uvloop", "gnet", "asyncio")
PAGE = "performance.md"
RECORD = "performance.json"  # beside the page, which is rendered from it
HEAD = """\
# Performance

Made by `python perf/suite.py --profile --report docs`; do not edit. How it is measured and what the
columns mean: [perf/README.md](../perf/README.md). What was tried, and what it gave:
[perf/NOTEBOOK.md](../perf/NOTEBOOK.md).
"""
PROFILE_TITLE = "where the server's CPU time goes"

Row = tuple[str, ...]


def columns(scenario: Scenario) -> Row:
    """The head of a scenario's table."""
    return (
        "server", scenario.unit, "±", f"us/{scenario.cpu_unit}", "p50", "p99", "p99.9",
        "server %", "load %", *(f"x {name}" for name in REFERENCES), "",
    )  # fmt: skip


def rows(scenario: Scenario, summaries: Mapping[str, Summary]) -> Iterator[Row]:
    """A row for each peer, the best first."""
    for one in _ordered(scenario, summaries):
        ratios = [_ratio(one, reference(scenario, summaries, name)) for name in REFERENCES]
        yield (
            one.peer + (f" ({one.variant})" if one.variant else ""),
            number(one.value.middle),
            f"{one.value.share:.0%}" if len(one.samples) > 1 else "",
            number(one.cpu_us),
            *(number(one.latency_us.get(name)) for name in ("p50", "p99", "p99.9")),
            _percent(one.server_share),
            _percent(one.load_share),
            *ratios,
            _marks(one),
        )


def _ordered(scenario: Scenario, summaries: Mapping[str, Summary]) -> list[Summary]:
    return sorted(
        summaries.values(), key=lambda s: s.value.middle, reverse=scenario.higher_is_better
    )


def reference(scenario: Scenario, summaries: Mapping[str, Summary], name: str) -> Summary | None:
    """The peer that a column compares with."""
    if name == "limit":
        return better_limit(summaries, scenario.higher_is_better)
    return summaries.get(name)


def _ratio(one: Summary, other: Summary | None) -> str:
    found = ratios(one, other) if other is not None else {}
    return _by_distance({distance: each.middle for distance, each in found.items()})


def _by_distance(ratios: Mapping[str, float]) -> str:
    """A ratio of near CPUs and, behind a slash, of far ones."""
    near = [f"{value:.2f}" for distance, value in ratios.items() if distance != FAR]
    far = [f"/ {ratios[FAR]:.2f}"] if FAR in ratios else []
    return " ".join([*near[:1], *far])


def number(value: float | None) -> str:
    """A number with three significant digits."""
    if value is None:
        return ""
    for least, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"


def _marks(one: Summary) -> str:
    return " ".join(
        f"{MARKS[mark]}{count}/{len(one.samples)}" for mark, count in sorted(one.marks.items())
    )


def tables(made: Record) -> Iterator[tuple[Scenario, list[Row]]]:
    """The table of each scenario that has samples, in the suite's order."""
    measured = {sample.scenario for sample in made.samples}
    for scenario in SCENARIOS.values():
        if scenario.name in measured:
            found = of_scenario(made.samples, scenario.name, scenario.higher_is_better)
            yield scenario, [columns(scenario), *rows(scenario, found)]


def profile_table(made: Record, scenario: Scenario) -> list[Row]:
    """Areas of CPU time by server, the best first; nothing where there are no profiles."""
    summaries = of_scenario(made.samples, scenario.name, scenario.higher_is_better)
    profiles = {p.peer: p for p in made.profiles if p.scenario == scenario.name}
    found = [(s, profiles[s.peer]) for s in _ordered(scenario, summaries) if s.peer in profiles]
    if not found:
        return []
    return [
        (f"CPU us/{scenario.cpu_unit}", *(one.peer for one, _ in found)),
        *_area_rows([(one.cpu_us or 0.0, profile) for one, profile in found]),
    ]


def _area_rows(found: Sequence[tuple[float, Profile]]) -> Iterator[Row]:
    for area in AREAS:
        if any(area in profile.shares for _, profile in found):
            shares = [(cpu_us, profile.shares.get(area)) for cpu_us, profile in found]
            yield (area, *("" if s is None else number(cpu_us * s) for cpu_us, s in shares))
    yield ("in all", *(number(cpu_us) for cpu_us, _ in found))
    kernel = [sum(profile.shares.get(area, 0) for area in KERNEL_AREAS) for _, profile in found]
    yield ("of it the kernel", *(f"{share:.0%}" for share in kernel))


def remarks(made: Record) -> Iterator[str]:
    """What a reader of the tables must know."""
    seen = {mark for sample in made.samples for mark in sample.marks}
    for mark in sorted(seen):
        yield f"{MARKS[mark]} samples in which {MEANINGS[mark]}"
    yield from _distances(made.samples)
    for sample in made.samples:
        if sample.scenario == "open-loop":
            yield f"open-loop: {sample.details['rate']:,.0f} messages a second"
            break
    for what, reason in (*made.made["skipped"].items(), *made.made["failures"].items()):
        yield f"{what}: {reason}"


def _distances(samples: Sequence[Sample]) -> Iterator[str]:
    """A remark where the CPUs were not near each other all the time."""
    counts = Counter(sample.distance for sample in samples)
    if counts[FAR] or counts[MOVED]:
        yield (
            f"the server's and the load's CPU shared no cache in {counts[FAR]} of {len(samples)} "
            f"samples (a cache line took more than {NEAR_NS} ns there and back), and began or "
            f"ceased to in {counts[MOVED]}: ratios are between samples of the same run and "
            "the same distance, behind a slash where the CPUs were far; the other figures are of "
            "all samples"
        )


def print_tables(made: Record) -> None:
    """Print everything on the terminal."""
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 150)
    for scenario, table in tables(made):
        console.print(f"{scenario.name}: {scenario.about}", style="italic", highlight=False)
        console.print(_for_terminal(table))
        if profile := profile_table(made, scenario):
            console.print(f"{scenario.name}: {PROFILE_TITLE}", style="italic", highlight=False)
            console.print(_for_terminal(profile))
    for text in remarks(made):
        console.print(text, highlight=False, markup=False)


def _for_terminal(rows: Sequence[Row]) -> Table:
    from rich.table import Table

    head, *body = rows
    table = Table(box=None)
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in body:
        table.add_row(*row, style="bold" if row[0].startswith("ringnet") else "")
    return table


def write(made: Record, folder: Path) -> None:
    """Write the page, the plots, and the record that they show."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = plots.draw(made, folder)
    (folder / PAGE).write_text("\n".join(page(made, drawn)) + "\n")
    record.write(made, folder / RECORD)


def page(made: Record, drawn: Sequence[str]) -> Iterator[str]:
    """The lines of the page in Markdown."""
    yield from HEAD.splitlines()
    yield ""
    yield from _machine_lines(made)
    yield from _target_lines(made)
    for name in drawn:
        yield f"![{name}]({name}.svg)"
        yield ""
    for scenario, (head, *body) in tables(made):
        yield f"## {scenario.name}"
        yield ""
        yield f"{scenario.about[:1].upper()}{scenario.about[1:]}."
        yield ""
        yield from markdown(head, body)
        yield ""
        if profile := profile_table(made, scenario):
            yield f"{PROFILE_TITLE[:1].upper()}{PROFILE_TITLE[1:]}:"
            yield ""
            yield from markdown(profile[0], profile[1:])
            yield ""
    yield from (f"- {text}" for text in remarks(made))


def markdown(head: Row, body: Sequence[Row]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'--:|' * (len(head) - 1)}"
    for row in body:
        yield f"| {' | '.join(row)} |"


def _machine_lines(made: Record) -> Iterator[str]:
    machine, settings = made.made["machine"], made.made["settings"]
    yield (
        f"{made.made['date'][:10]}, commit {made.made['commit']}: {machine['cpu']}, "
        f"{machine['cpus']} CPUs, {machine['memory_gib']} GiB, {machine['system']}, Linux "
        f"{machine['kernel']}. Server on CPU {machine['server_cpu']}, load on CPU "
        f"{machine['load_cpu']}. {settings['runs']} runs of {settings['seconds']} s."
    )
    yield ""
    if machine["caveat"]:
        yield f"Caveat: {machine['caveat']}."
        yield ""
    yield "; ".join(f"{name}: {version}" for name, version in made.made["versions"].items()) + "."
    yield ""


def _target_lines(made: Record) -> Iterator[str]:
    found = list(targets.judged(made.samples))
    if not found:
        return
    yield "## Targets"
    yield ""
    numbers = obstacle_numbers(found)
    body = [
        (t.scenario, t.text, _reached(t), f"{t.least:.2f}..{t.most:.2f}", _met(t, numbers))
        for t in found
    ]
    yield from markdown(("scenario", "target", "reached", "spread", "met"), body)
    yield ""
    if numbers:
        yield "What stands in the way, by the numbers in the table:"
        yield ""
        yield from (f"{number}. {text}" for text, number in numbers.items())
        yield ""


def obstacle_numbers(found: Iterable[targets.Judged]) -> dict[str, int]:
    """The texts of the targets that are missed, numbered from 1."""
    texts = dict.fromkeys(obstacle(one.key) for one in found if not one.met)
    return {text: number for number, text in enumerate(filter(None, texts), 1)}


def _reached(one: targets.Judged) -> str:
    return _by_distance(one.by_distance) or f"{one.reached:.2f}"


def _met(one: targets.Judged, numbers: Mapping[str, int]) -> str:
    if one.met:
        return "yes"
    number = numbers.get(obstacle(one.key))
    return f"no ({number})" if number else "no; why is not known"
