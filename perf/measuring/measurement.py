"""The measurement: the load on one CPU, a server on another, in turn.

The servers of a scenario take turns within each run, and each run begins with the next one. So a
slow minute of the machine affects all of them, and no server always has the same place in the
order. Before each sample it waits until the machine is idle; a sample that was disturbed anyway is
marked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Protocol

from figures.areas import Profile
from figures.samples import DISTURBED, MOVED, Sample
from figures.summary import of_scenario

from . import cpus, kinds, profiling
from .kinds import Turn
from .load import Load, Settings
from .programs import CannotBuild
from .roster import PEERS, Peer
from .scenarios import Scenario
from .servers import START_SECONDS, CannotServe, Server

IDLE_SHARE = 0.92  # of both CPUs before a sample
WAIT_SECONDS = 5.0  # for that, before each
ATTEMPTS = 3  # at an undisturbed sample
HALF = 0.5  # of what the slowest can do, for an open loop
TARGET = "limit-epoll"  # the server behind a proxy
LIFETIME_SECONDS = 120.0  # of a server beyond its samples: an alarm is the last resort


class Watcher(Protocol):
    """Shows the progress."""

    def scenario(self, scenario: Scenario, steps: int) -> None:
        """A scenario begins, with this number of samples."""

    def step(self, what: str) -> None:
        """A sample was taken, or failed."""

    def say(self, text: str) -> None:
        """Show a message."""


@dataclass
class Results:
    """What was measured so far, and what went wrong."""

    settings: Settings
    samples: list[Sample] = field(default_factory=list)
    profiles: list[Profile] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)  # by peer, or scenario and peer
    failures: dict[str, str] = field(default_factory=dict)  # by scenario and server


@dataclass
class Measurement:
    """Takes the samples of scenarios."""

    load: Load
    settings: Settings
    watcher: Watcher
    results: Results
    profiles: bool = False  # too, after the timed samples of a scenario
    spent: float = 0.0  # of the spare seconds

    def measure(self, scenario: Scenario, peers: Sequence[Peer]) -> None:
        """Take every sample of a scenario. A server that fails is reported and left out."""
        with ExitStack() as stack:
            target = self._target(scenario, stack)
            turns = []
            for peer in peers:
                for variant in peer.variants_of(scenario.role):
                    turn = self._prepared(scenario, peer, variant, target, stack)
                    if turn is not None:
                        turns.append(turn)
            profiled = self.profiles and scenario.kind in profiling.KINDS
            more = len({turn.server.peer.name for turn in turns}) if profiled else 0
            self.watcher.scenario(scenario, len(turns) * self.settings.runs + more)
            if scenario.kind == "open":
                self._set_rate(turns)
            for run in range(self.settings.runs):
                for turn in rotated(turns, run):
                    self._take(replace(turn, run=run))
            if profiled:
                self._profile(scenario, turns)

    def _target(self, scenario: Scenario, stack: ExitStack) -> int:
        """Start the server behind a proxy, on the load's CPU. Its port, or 0 without a proxy."""
        if scenario.role != "proxy":
            return 0
        on = {self.load.placement.load}
        server = Server(PEERS[TARGET], scenario.target, on, self._lifetime(scenario))
        return stack.enter_context(server).port

    def _lifetime(self, scenario: Scenario) -> int:
        sample = self.settings.seconds + self.settings.warmup + 2
        steps = 2 * len(scenario.peers()) * (self.settings.runs + 1)
        spare = self.settings.spare + LIFETIME_SECONDS + START_SECONDS
        return math.ceil(2 * sample * steps + spare)

    def _prepared(
        self, scenario: Scenario, peer: Peer, variant: str, target: int, stack: ExitStack
    ) -> Turn | None:
        """A server that runs and answers correctly; None, after a report, if it does not."""
        if peer.name in self.results.skipped:
            return None
        placement = self.load.placement
        on = placement.all_but_load if scenario.role == "scaling" else {placement.server}

        def start() -> Server:
            return Server(peer, scenario.role, on, self._lifetime(scenario), variant, target)

        try:
            server = start()
        except CannotServe as error:
            self._skip(scenario, peer, str(error))
            return None
        stack.enter_context(server)
        try:
            options = self.load.prepare(scenario, server)
        except (CannotServe, OSError) as error:
            self._fail(scenario, server, str(error))
            server.stop()
            return None
        if scenario.kind in kinds.FRESH:
            server.stop()
        return Turn(scenario, self.load, self.settings, server, options, 0, restart=start)

    def _set_rate(self, turns: list[Turn]) -> None:
        """Set the rate to half of what the slowest of them reaches in a closed loop."""
        rates = {turn.server.name: kinds.capacity(turn) for turn in turns}
        if rates:
            slowest = min(rates, key=lambda name: rates[name])
            for turn in turns:
                turn.rate = HALF * rates[slowest]
            self.watcher.say(f"open loop: {HALF * rates[slowest]:,.0f} msg/s, half of {slowest}'s")

    def _take(self, turn: Turn) -> None:
        server, scenario = turn.server, turn.scenario
        if _key(scenario, server) in self.results.failures:
            return
        sample = self._tried(turn)
        if sample is not None:
            self.results.samples.append(sample)
            self.watcher.step(f"{server.name} {sample.value:,.4g} {scenario.unit}")

    def _tried(self, turn: Turn) -> Sample | None:
        """A sample, or None after a second failure: the machine may have stood still once."""
        for last in (False, True):
            try:
                return self._undisturbed(turn)
            except (CannotServe, CannotBuild, OSError) as error:
                if last:
                    self._fail(turn.scenario, turn.server, str(error))
                else:
                    self.watcher.say(f"{_key(turn.scenario, turn.server)}, once more: {error}")
        return None

    def _undisturbed(self, turn: Turn) -> Sample:
        """The first undisturbed sample whose CPUs kept their distance, or else the last one,
        which its mark or its `distance` shows.
        """
        on = (self.load.placement.server, self.load.placement.load)
        for left in reversed(range(ATTEMPTS)):
            began = time.monotonic()
            patience = min(WAIT_SECONDS, max(0.0, self.settings.spare - self.spent))
            quiet = cpus.wait_until_quiet(on, IDLE_SHARE, patience)
            waited = time.monotonic()
            sample = kinds.KINDS[turn.scenario.kind](turn)
            if quiet and DISTURBED not in sample.marks and sample.distance != MOVED:
                break
            self.spent += waited - began
            if left == 0 or self.spent >= self.settings.spare:
                break
            self.spent += time.monotonic() - waited
        if not quiet and DISTURBED not in sample.marks:
            sample = replace(sample, marks=(*sample.marks, DISTURBED))
        return sample

    def _profile(self, scenario: Scenario, turns: Sequence[Turn]) -> None:
        """Profile each peer, in the variant that counts."""
        best = of_scenario(self.results.samples, scenario.name, scenario.higher_is_better)
        for turn in turns:
            server, counts = turn.server, best.get(turn.server.peer.name)
            failed = _key(scenario, server) in self.results.failures
            if failed or counts is None or counts.variant != server.variant:
                continue
            try:
                self.results.profiles.append(profiling.take(turn))
                self.watcher.step(f"{server.name} profile")
            except (profiling.CannotProfile, CannotServe, OSError) as error:
                said = " ".join(str(error).split())
                self.watcher.say(f"{_key(scenario, server)} has no profile: {said}")

    def _skip(self, scenario: Scenario, peer: Peer, reason: str) -> None:
        """Leave a peer out: of this scenario only, where others may not need what is missing."""
        key = f"{scenario.name} {peer.name}" if scenario.role in ("http", "redis") else peer.name
        if key not in self.results.skipped:
            self.results.skipped[key] = reason
            self.watcher.say(f"{key} is left out: {reason}")

    def _fail(self, scenario: Scenario, server: Server, reason: str) -> None:
        self.results.failures[_key(scenario, server)] = reason
        self.watcher.say(f"{_key(scenario, server)} failed: {reason}")


def _key(scenario: Scenario, server: Server) -> str:
    return f"{scenario.name} {server.name}"


def rotated(turns: Sequence[Turn], run: int) -> list[Turn]:
    """The order of a run: each run begins with the next one."""
    first = run % len(turns) if turns else 0
    return [*turns[first:], *turns[:first]]
