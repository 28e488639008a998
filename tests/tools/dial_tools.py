"""Whom tests dial: nobody, somebody silent, and a name with the addresses that a test gives it."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from engine_tools import WAIT


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Full:
    """A listener whose backlog is full: it answers no newcomer."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.family = family

    def __enter__(self) -> str:
        self.sock = socket.socket(self.family)
        self.sock.bind(("127.0.0.1" if self.family == socket.AF_INET else "::1", 0))
        self.sock.listen(0)
        self.waiting = []
        for _ in range(8):
            peer = socket.socket(self.family)
            peer.setblocking(False)
            peer.connect_ex(self.sock.getsockname())
            self.waiting.append(peer)
        return f"tcp://127.0.0.1:{self.sock.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        for peer in (self.sock, *self.waiting):
            peer.close()


class Names:
    """Takes the resolver's place for the name `several.test`, and notes on which threads it ran."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.addresses: list[Any] = []  # as `socket.connect` has them
        self.threads: set[int] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._real = socket.getaddrinfo
        patch.setattr(socket, "getaddrinfo", self.answer)

    def answer(self, host: Any, *rest: Any, **more: Any) -> Any:
        if host != "several.test":
            return self._real(host, *rest, **more)
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        self.threads.add(threading.get_ident())
        assert self.may_answer.wait(WAIT)
        return [
            (socket.AF_INET6 if ":" in where[0] else socket.AF_INET, more["type"], 0, "", where)
            for where in self.addresses
        ]
