"""An idle connection costs no more memory than README says."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Iterator

import pytest
from engine_tools import USES_MALLOC
from measuring.kinds import SPARE_DESCRIPTORS, idle_bytes
from measuring.roster import PEERS
from measuring.servers import Server
from places import ROOT
from ringnet.fallback.slot import Slot

README = ROOT / "README.md"
CLAIM = re.compile(r"idle connection costs less than (\d+) bytes .*?\(([\d,]+) connections")
LIFETIME = 50  # seconds

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="io_uring, and /proc")


@pytest.fixture
def claim() -> tuple[int, int]:
    """The bytes that README names, and for how many connections."""
    found = CLAIM.search(" ".join(README.read_text(encoding="utf-8").split()))
    assert found is not None
    return int(found[1]), int(found[2].replace(",", ""))


@pytest.fixture
def room(claim: tuple[int, int]) -> Iterator[None]:
    """Descriptors for all connections, here and in the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = claim[1] + SPARE_DESCRIPTORS
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), max(hard, enough)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@USES_MALLOC
@pytest.mark.usefixtures("room")
def test_an_idle_connection_costs_what_readme_says(claim: tuple[int, int]) -> None:
    most, connections = claim
    with Server(PEERS["ringnet-io_uring"], "echo", os.sched_getaffinity(0), LIFETIME) as server:
        assert idle_bytes(server, connections) < most


def test_a_slot_of_the_fallback_has_what_a_stream_needs() -> None:
    """With what Python puts before them 20 fill a block of 192 bytes: one more costs 16."""
    assert len(Slot.__slots__) <= 20
