"""The examples say at their start which argument is wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
from engine_tools import WAIT
from places import ROOT

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize(
    ("program", "option", "address"),
    [
        ("tcp_proxy.py", "--target", "example.org:80"),
        ("dns_forwarder.py", "--upstream", "9.9.9.9"),
        ("dns_forwarder.py", "--upstream", "udp://9.9.9.9:99999"),
    ],
)
def test_an_address_to_dial_that_is_none(program: str, option: str, address: str) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, option, address],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 2
    assert f"argument {option}: '{address}'" in done.stderr
    assert "Traceback" not in done.stderr
