"""Echo throughput of servers on a CPU of their own: `python perf/echo.py`.

Starts each server once, lets the load talk to one after the other, and prints the medians. Exit
status: 0 measured; 1 a server failed while it was measured; 2 nothing could be. See README.md.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import cpus
import programs
import report
from measure import CHECK_SECONDS, Load, Results, Settings, measure
from servers import SERVERS, START_SECONDS, CannotServe, Server


def tell(text: str) -> None:
    """Say something that is not the result."""
    print(text, file=sys.stderr, flush=True)


def _number_between(low: float, high: float, kind: type) -> Callable[[str], float]:
    def read(text: str) -> float:
        value: float = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not from {low} to {high}")
        return value

    read.__name__ = f"{kind.__name__} value"
    return read


def _sizes(text: str) -> tuple[int, ...]:
    read = _number_between(1, 16 << 20, int)
    return tuple(dict.fromkeys(int(read(part)) for part in text.split(",")))


def _servers(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in SERVERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(SERVERS)}")
    return names


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Measure echo throughput of servers on pinned CPUs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--servers", type=_servers, default=",".join(SERVERS), metavar="A,B", help="which")
    add("--sizes", type=_sizes, default="64,1024", metavar="N,N", help="bytes of a message")
    add("--connections", type=_number_between(1, 10_000, int), default=50, metavar="N", help="open")
    add("--pipeline", type=_number_between(1, 1024, int), default=1, metavar="N",
        help="messages that a connection sends at once")  # fmt: skip
    add("--seconds", type=_number_between(0.1, 600, float), default=2.0, metavar="S",
        help="counted, of each sample")  # fmt: skip
    add("--warmup", type=_number_between(0, 60, float), default=0.3, metavar="S",
        help="before it, not counted")  # fmt: skip
    add("--runs", type=_number_between(1, 1000, int), default=5, metavar="N",
        help="samples of each server and size")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write every sample there")
    return parser.parse_args(given)


def settings_of(given: argparse.Namespace) -> Settings:
    """What the command line says, as the measurement wants it."""
    return Settings(
        sizes=given.sizes,
        connections=given.connections,
        pipeline=given.pipeline,
        seconds=given.seconds,
        warmup=given.warmup,
        runs=given.runs,
    )


def seconds_needed(servers: int, settings: Settings) -> float:
    """How long the samples take, without what is between them."""
    samples = servers * len(settings.sizes) * settings.runs
    return samples * (settings.seconds + settings.warmup)


def lifetime(servers: int, settings: Settings) -> int:
    """How long a server may live, whatever happens: generous, since an alarm is the last resort."""
    start = servers * (START_SECONDS + CHECK_SECONDS * len(settings.sizes))
    return math.ceil(2 * seconds_needed(servers, settings) + start) + 60


def start_all(
    names: Sequence[str], load: Load, cpu: int, settings: Settings, stack: ExitStack
) -> list[Server]:
    """Start those that can be, and leave out with a line those that cannot, or echo wrongly."""
    limit = lifetime(len(names), settings)
    started = []
    for name in names:
        try:
            server = stack.enter_context(Server(name, cpu, limit))
        except CannotServe as error:
            tell(f"{name} is left out: {error}")
            continue
        try:
            load.check(server, settings)
        except CannotServe as error:
            tell(f"{name} is left out, it does not echo: {error}")
            server.stop()
            continue
        started.append(server)
    return started


def run(given: argparse.Namespace) -> Results | None:
    """Measure; None if nothing can be, which was told."""
    settings, placement = settings_of(given), cpus.place()
    try:
        load = Load(programs.build("load"), placement.load)
    except programs.CannotBuild as error:
        tell(f"there is no load generator: {error}")
        return None
    with ExitStack() as stack:
        servers = start_all(given.servers, load, placement.server, settings, stack)
        if not servers:
            tell("there is nothing to measure")
            return None
        _announce(servers, settings, placement)
        return measure(load, servers, settings, tell)


def _announce(servers: Sequence[Server], settings: Settings, placement: cpus.Placement) -> None:
    needed = seconds_needed(len(servers), settings)
    tell(f"servers on CPU {placement.server}, load on CPU {placement.load}; {needed:.0f} s")
    if placement.caveat:
        tell(f"caveat: {placement.caveat}")


def _end_in_order(*_: object) -> None:
    """SIGTERM as Ctrl-C: leave the blocks that end the children."""
    raise KeyboardInterrupt


def main() -> int:
    """The command. Returns its exit status."""
    given = arguments()
    signal.signal(signal.SIGTERM, _end_in_order)
    try:
        results = run(given)
    except KeyboardInterrupt:
        tell("interrupted: the servers have been ended")
        return 130
    if results is None or not results.samples:
        return 2
    print(report.table(results))
    if given.json is not None:
        given.json.write_text(json.dumps(report.as_json(results), indent=1) + "\n")
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
