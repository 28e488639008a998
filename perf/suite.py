"""Compare ringnet with its peers: `python perf/suite.py`.

    python perf/suite.py --quick                    the main scenarios, about two minutes
    python perf/suite.py --scenario echo-64 --peer uvloop --peer ringnet-io_uring
    python perf/suite.py compare A.json B.json      two commits or machines: ratios only

Exit status: 0 measured; 1 a server failed while it was measured, or `compare` found a regression;
2 nothing could be measured. See README.md.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

try:
    import rich  # noqa: F401
except ImportError as error:
    sys.exit(f"{error}: pip install '.[perf]' in the root of the project")

from measuring import cpus, profiling, programs
from measuring.load import Load, Settings
from measuring.measurement import Measurement, Results
from measuring.roster import PEERS, Peer
from measuring.scenarios import SCENARIOS, Scenario
from report import compare, pages, record
from report.progress import Progress

FULL = Settings(seconds=1.0, warmup=0.25, runs=3, spare=300.0)
QUICK = Settings(seconds=0.3, warmup=0.1, runs=1, spare=10.0)


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare ringnet with its peers.")
    add = parser.add_argument
    add("--quick", action="store_true", help="the main scenarios, one short run: about two minutes")
    add("--scenario", action="append", choices=SCENARIOS, metavar="NAME", help="may be repeated")
    add("--peer", action="append", choices=PEERS, metavar="NAME", help="may be repeated")
    add("--list", action="store_true", help="print the scenarios and the peers")
    add("--runs", type=int, metavar="N", help=f"samples of each peer; default: {FULL.runs}")
    add("--seconds", type=float, metavar="S", help=f"of a sample; default: {FULL.seconds}")
    add("--json", type=Path, metavar="FILE", help="write the record, with every sample")
    add("--profile", action="store_true", help="also show where the servers' CPU time goes")
    add("--report", type=Path, metavar="DIR", help="write a page, plots and the record")
    return parser.parse_args(given)


def settings_of(given: argparse.Namespace) -> Settings:
    """The settings of a command line."""
    base = QUICK if given.quick else FULL
    return Settings(
        seconds=given.seconds or base.seconds,
        warmup=base.warmup,
        runs=given.runs or base.runs,
        spare=base.spare,
    )


def scenarios_of(given: argparse.Namespace) -> list[Scenario]:
    """The scenarios of a command line, in the suite's order."""
    if given.scenario:
        return [s for s in SCENARIOS.values() if s.name in given.scenario]
    return [s for s in SCENARIOS.values() if s.quick or not given.quick]


def peers_of(scenario: Scenario, given: argparse.Namespace) -> list[Peer]:
    """The peers of a scenario that the command line names, or all of them."""
    return [p for p in scenario.peers() if not given.peer or p.name in given.peer]


def raise_descriptors() -> None:
    """Allow thousands of connections, in the children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def can_profile(progress: Progress, results: Results) -> bool:
    """Whether there can be profiles; if not, the reason is reported."""
    try:
        profiling.check()
    except profiling.CannotProfile as error:
        results.skipped["profiles"] = str(error)
        progress.say(f"there will be no profiles: {error}")
    return "profiles" not in results.skipped


def run(given: argparse.Namespace, progress: Progress, placement: cpus.Placement) -> Results | None:
    """Measure. None, after a report, if nothing can be measured."""
    settings, chosen = settings_of(given), scenarios_of(given)
    results = Results(settings)
    try:
        program = programs.build("load")
    except programs.CannotBuild as error:
        progress.say(f"there is no load generator: {error}")
        return None
    progress.say(f"servers on CPU {placement.server}, load on CPU {placement.load}")
    if placement.caveat:
        progress.say(f"caveat: {placement.caveat}")
    with tempfile.TemporaryDirectory(prefix="ringnet-perf-") as folder:
        load = Load(program, placement, Path(folder))
        profiles = given.profile and can_profile(progress, results)
        measurement = Measurement(load, settings, progress, results, profiles)
        for scenario in chosen:
            measurement.measure(scenario, peers_of(scenario, given))
    return results


def print_list() -> None:
    """The scenarios with their peers."""
    for scenario in SCENARIOS.values():
        quick = "quick" if scenario.quick else ""
        print(f"{scenario.name:24} {scenario.unit:8} {quick:6} {scenario.about}")
        print(" " * 27 + ", ".join(peer.name for peer in scenario.peers()))


def _end_in_order(*_: object) -> None:
    """Treat SIGTERM as Ctrl-C, which leaves the blocks that end the children."""
    raise KeyboardInterrupt


def main() -> int:
    """The command. Returns its exit status."""
    if sys.argv[1:2] == ["compare"]:
        return compare.main(sys.argv[2:])
    given = arguments()
    if given.list:
        print_list()
        return 0
    signal.signal(signal.SIGTERM, _end_in_order)
    raise_descriptors()
    placement = cpus.place()
    try:
        with Progress(len(scenarios_of(given))) as progress:
            results = run(given, progress, placement)
    except KeyboardInterrupt:
        print("interrupted: the servers have been ended", file=sys.stderr)
        return 130
    if results is None or not results.samples:
        return 2
    made = record.record(results, placement)
    pages.print_tables(made)
    if given.json is not None:
        record.write(made, given.json)
    if given.report is not None:
        pages.write(made, given.report)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
