"""The doctor: which backends this machine can run, which one `auto` takes, and what is missing.

Exit status: 0 if a backend works, 1 if none does, 2 for wrong arguments.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...completion import Bounds
from ..base.errors import RingnetError
from .choose import FALLBACKS, VARIABLE, choose, confirm, judge, probe_uring

# The purpose of each feature, and the kernel that introduced it.
FEATURES = {
    "ext_arg": "wait with a timeout (5.11)",
    "buffer_ring": "rings of receive buffers (5.19)",
    "incremental_buffers": "many receives into one buffer (6.15)",
    "accept": "accept (5.5)",
    "multishot_accept": "one request accepts many (5.19)",
    "connect": "connect (5.5)",
    "recv": "receive (5.6)",
    "multishot_recv": "one request receives many (6.0)",
    "send": "send (5.6)",
    "recvmsg": "receive datagrams (5.3)",
    "sendmsg": "send datagrams (5.3)",
    "cancel": "cancel a request (5.5)",
    "poll": "wait for readiness (5.1)",
    "coop_taskrun": "completions without interrupting (5.19)",
    "single_issuer": "one thread per ring (6.0)",
    "defer_taskrun": "completions only when asked for (6.1)",
    "submit_all": "submit past an error (5.18)",
    "msg_ring": "messages between rings (5.18)",
    "send_zc": "send without a copy (6.0), not used yet",
}


def examine() -> dict[str, Any]:
    """Everything the doctor knows, as plain data."""
    uring = probe_uring()
    verdicts = [judge(name) for name in ("io_uring", *FALLBACKS)]
    try:
        choice = confirm(choose("auto"), Bounds(), 1)
        auto: dict[str, str | None] = {"backend": choice.name, "reason": choice.reason}
    except RingnetError as error:
        auto = {"backend": None, "reason": str(error)}
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "package": str(Path(__file__).resolve().parents[2]),
        "extension": uring.extension,
        "liburing": uring.liburing,
        "cause": uring.cause,
        "features": uring.features,
        "backends": [asdict(verdict) for verdict in verdicts],
        "auto": auto,
    }


def main(arguments: list[str]) -> int:
    """The command line of `python -m ringnet`."""
    parser = argparse.ArgumentParser(prog="python -m ringnet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser(
        "doctor", help="show which backends this machine can run, and what others lack"
    )
    doctor.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    found = examine()
    report = json.dumps(found, indent=2) if options.json else "\n".join(_lines(found))
    sys.stdout.write(report + "\n")
    return 0 if any(backend["available"] for backend in found["backends"]) else 1


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"system     {found['system']} {found['kernel']}",
        f"python     {found['python']}",
        f"package    {found['package']}",
        f"extension  {found['extension'] or 'not built'}",
        f"liburing   {found['liburing'] or 'unknown: it is part of the extension'}",
        "",
        "backends",
    ]
    for backend in found["backends"]:
        lines.append(f"  {_mark(backend['available'])} {backend['name']:9} {backend['reason']}")
        if backend["remedy"]:
            lines.append(f"      {'':9} remedy: {backend['remedy']}")
    if found["features"]:
        lines += ["", "io_uring features of this kernel (with the Linux that introduced them)"]
        width = max(map(len, found["features"]))
        lines += [
            f"  {_mark(there)} {name:{width}} {FEATURES.get(name, '')}"
            for name, there in found["features"].items()
        ]
    auto = found["auto"]
    lines += ["", f"auto takes {auto['backend'] or 'nothing'}: {auto['reason']}"]
    lines.append(f"(force one with the option backend=... or the variable {VARIABLE})")
    return lines


def _mark(good: bool) -> str:
    return "yes" if good else "no "
