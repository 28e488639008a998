"""What the recipes of CONTRIBUTING.md list together stays together."""

from __future__ import annotations

import re

import ringnet
from places import ROOT
from ringnet import completion
from ringnet.engine.base.action import _METHODS, Handler
from ringnet.engine.base.options import BACKENDS
from ringnet.engine.server.choose import FALLBACKS
from ringnet.fallback.pollers import POLLERS

OPTIONAL = {"on_refused"}  # handlers of other classes need not have it


def methods_of(kind: type) -> set[str]:
    return {name for name in vars(kind) if name.startswith("on_")}


def test_the_methods_of_handlers() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(on_\w+)\(", readme, re.MULTILINE)) == methods_of(
        ringnet.EventHandler
    )
    assert methods_of(Handler) == set(_METHODS)
    assert methods_of(ringnet.EventHandler) == set(_METHODS) | OPTIONAL


def test_every_event_goes_somewhere() -> None:
    with ringnet.Engine(ringnet.EventHandler(), "tcp://127.0.0.1:0") as engine:
        (reactor,) = engine.group.reactors
        routes = set(reactor._routes())
    assert routes | {completion.DATA} == set(completion.KIND_NAMES)


def test_every_kind_of_event_has_a_name() -> None:
    for number, name in completion.KIND_NAMES.items():
        assert getattr(completion, name) == number
    assert sorted(completion.KIND_NAMES) == list(range(1, len(completion.KIND_NAMES) + 1))


def test_every_backend_can_be_chosen() -> None:
    assert set(BACKENDS) == {"auto", "io_uring", *FALLBACKS}
    assert set(POLLERS) == set(FALLBACKS)
