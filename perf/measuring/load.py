"""The load generator: its options for a scenario, and its answer as a sample."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figures.samples import Sample, marks_of

from . import cpus
from .programs import pinned
from .scenarios import PER_SECOND, Scenario
from .servers import CannotServe, Server, end

CHECK_MESSAGES = 100
CHECK_SECONDS = 10.0
REPLY_SECONDS = 5.0
LOADED = {"load", "open"}  # kinds of scenarios that use the load generator
COMMAND_SECONDS = 600  # the most that one may take; the load ends itself sooner
GRACE = 30.0


@dataclass(frozen=True)
class Settings:
    """The settings of every sample."""

    seconds: float
    warmup: float
    runs: int
    spare: float  # seconds in all to wait for a quiet machine and to take samples again


@dataclass(frozen=True)
class Load:
    """The load generator, pinned to its CPU."""

    program: Path
    placement: cpus.Placement
    folder: Path  # for the request's and the reply's files

    def run(self, server: Server, *options: str, under: Sequence[str] = ()) -> dict[str, Any]:
        """Run it against a server, beneath another command if there is one.

        Raises CannotServe with its complaint if that fails.
        """
        pids = ",".join(map(str, server.pids()))
        both = f"{self.placement.load},{self.placement.server}"
        command = [str(self.program), "--port", str(server.port), "--watch", pids, "--cpus", both]
        out = self.command(server, [*under, *command, *options])
        answer: dict[str, Any] = json.loads(out)
        return answer

    def command(self, server: Server, command: list[str]) -> str:
        """Run any program on the load's CPU. Returns what it printed; raises CannotServe."""
        child = subprocess.Popen(
            pinned({self.placement.load}, COMMAND_SECONDS, command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, complaints = child.communicate(timeout=COMMAND_SECONDS + GRACE)
        finally:
            end(child)
        if child.returncode:
            said = complaints.decode(errors="replace").strip()
            words = [said or f"{command[0]} ended with {child.returncode}", server.last_words()]
            raise CannotServe("; ".join(word for word in words if word))
        return out.decode()

    def prepare(self, scenario: Scenario, server: Server) -> tuple[str, ...]:
        """The options of a scenario for this server, which is checked to answer correctly.

        Raises CannotServe.
        """
        if scenario.first:
            ask(server.port, scenario.first.encode())
        if scenario.kind not in LOADED:
            return scenario.load
        options = ("--connections", str(scenario.connections), *scenario.load)
        if scenario.request:
            options += self._conversation(scenario, server)
        if "--mode" not in options or "churn" in options:
            has_no_bytes = scenario.request and not scenario.reply
            self.run(
                server,
                *options,
                *(() if has_no_bytes else ("--verify",)),
                *("--warmup", "0", "--seconds", str(CHECK_SECONDS)),
                *("--messages", str(CHECK_MESSAGES)),
            )
        return options

    def _conversation(self, scenario: Scenario, server: Server) -> tuple[str, ...]:
        reply = ask(server.port, scenario.request.encode())
        if scenario.reply and reply != scenario.reply.encode():
            raise CannotServe(f"the reply was {reply[:100]!r}")
        name = f"{scenario.name}-{server.peer.name}-{server.variant}"
        request_file = self.folder / f"{name}.request"
        request_file.write_bytes(scenario.request.encode())
        options = ("--request", str(request_file))
        if not scenario.reply:
            return (*options, "--reply-size", str(len(reply)))
        reply_file = self.folder / f"{name}.reply"
        reply_file.write_bytes(reply)
        return (*options, "--reply", str(reply_file))


def ask(port: int, request: bytes) -> bytes:
    """The whole reply to one request, over a connection of its own. Raises CannotServe."""
    with socket.create_connection(("127.0.0.1", port), REPLY_SECONDS) as conn:
        conn.sendall(request)
        reply = b""
        while not is_whole(reply):
            part = conn.recv(65536)
            if not part:
                raise CannotServe(f"the server closed after {reply[:100]!r}")
            reply += part
    return reply


def is_whole(reply: bytes) -> bool:
    """Whether a reply of HTTP or Redis is complete. Raises CannotServe for an error reply."""
    if reply.startswith((b"+", b":")):
        return reply.endswith(b"\r\n")
    if reply.startswith(b"$"):
        size, end_of_line, value = reply[1:].partition(b"\r\n")
        return bool(end_of_line) and len(value) == int(size) + 2
    head, end_of_head, body = reply.partition(b"\r\n\r\n")
    if not end_of_head:
        return False
    if not head.startswith(b"HTTP/1.1 200 "):
        raise CannotServe(f"the server said {head[:100]!r}")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return length is not None and len(body) == int(length[1])


def sample_of(scenario: Scenario, server: Server, run: int, answer: Mapping[str, Any]) -> Sample:
    """The load generator's answer as a sample in the scenario's unit."""
    seconds, unit = answer["seconds"], PER_SECOND[scenario.unit]
    units = answer["bytes"] if scenario.unit == "GB/s" else answer["messages"]
    per = answer["bytes"] / 1e6 if scenario.unit == "GB/s" else answer["messages"]
    return Sample(
        scenario=scenario.name,
        peer=server.peer.name,
        variant=server.variant,
        run=run,
        value=units / seconds / unit,
        cpu_us=answer["server_cpu_seconds"] / per * 1e6,
        server_share=answer["server_cpu_seconds"] / seconds,
        load_share=answer["load_cpu_seconds"] / seconds,
        latency_us=answer["latency_us"] if answer["latency_us"]["p50"] else {},
        marks=marks_of(answer),
        details={"lost": answer["lost"]} if answer["lost"] else {},
        line_ns=tuple(answer["line_ns"]),
    )
