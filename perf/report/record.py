"""The record of a run, a JSON file: the machine, versions, settings and every sample."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figures.areas import Profile
from figures.samples import Sample, from_json
from measuring.cpus import Placement
from measuring.measurement import Results
from measuring.programs import PERF, CannotBuild
from measuring.roster import PEERS

FORMAT = 3
READABLE = (1, 2, 3)  # the first has no profiles, the second no distance of the CPUs


@dataclass(frozen=True)
class Record:
    """A run that was read from a file, or is about to be written."""

    made: dict[str, Any]
    samples: tuple[Sample, ...]
    profiles: tuple[Profile, ...] = ()


class BadRecord(Exception):
    """A file is not a record of this suite; the message has the reason."""


def record(results: Results, placement: Placement) -> Record:
    """Make the record of a run."""
    peers = {sample.peer for sample in results.samples}
    made = {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": _machine(placement),
        "versions": _versions(sorted(peers)),
        "settings": asdict(results.settings),
        "skipped": results.skipped,
        "failures": results.failures,
    }
    return Record(made, tuple(results.samples), tuple(results.profiles))


def write(what: Record, path: Path) -> None:
    """Write a record as JSON, with one sample or profile in each line."""
    text = json.dumps(what.made, indent=1)[:-2]
    for name, found in (("samples", what.samples), ("profiles", what.profiles)):
        lines = ",\n".join("  " + json.dumps(one.as_json()) for one in found)
        text += f',\n "{name}": [\n{lines}\n ]'
    path.write_text(text + "\n}\n")


def read(path: Path) -> Record:
    """Read a record. Raises BadRecord."""
    try:
        made = json.loads(path.read_text())
        if made["format"] not in READABLE:
            raise BadRecord(f"{path}: format {made['format']}, this is {FORMAT}")
        samples = tuple(map(from_json, made.pop("samples")))
        profiles = tuple(Profile(**one) for one in made.pop("profiles", ()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRecord(f"{path}: {error}") from error
    return Record(made, samples, profiles)


def _versions(peers: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in peers:
        try:
            found[name] = PEERS[name].version()
        except (CannotBuild, OSError, subprocess.SubprocessError) as error:
            found[name] = f"unknown: {error}"
    return found


def _commit() -> str:
    command = ["git", "-C", str(PERF), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _machine(placement: Placement) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "system": _system(),
        "architecture": platform.machine(),
        "server_cpu": placement.server,
        "load_cpu": placement.load,
        "caveat": placement.caveat,
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()
