"""Descriptors of others that a loop watches."""

from __future__ import annotations

import os

import pytest
from engine_tools import BACKENDS, Recorder, on_loop, open_descriptors, served, until


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_cannot_be_watched_is_tried_again(backend: str) -> None:
    """A descriptor that is none is refused by the poller; the watch lasts until it is one."""
    before = open_descriptors()
    with served(backend, Recorder()) as engine:
        (reactor,) = engine.group.reactors
        receiver, sender = os.pipe()
        number = 300  # which nothing else gets meanwhile
        heard: list[int] = []
        refused: list[int] = []
        later = reactor.watches._later
        reactor.watches._later = lambda *watch: (refused.append(1), later(*watch))  # type: ignore[method-assign, func-returns-value]
        on_loop(reactor, lambda: reactor.watches.add(number, lambda: heard.append(1)))
        until(lambda: len(refused) > 2)
        os.dup2(receiver, number)
        os.write(sender, b"!")
        until(lambda: heard)
        assert on_loop(reactor, lambda: len(reactor.owners)) == 2  # the listener, and the watch
    for fd in (receiver, sender, number):
        os.close(fd)
    assert open_descriptors() == before
