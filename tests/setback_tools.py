"""Engines that go wrong in ways that a test chooses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ringnet


class Breakable(ringnet.Engine):
    """Its backends raise `failure` from their next turns, as long as there is one."""

    failure: BaseException | None = None

    def make_backend(self) -> Any:
        backend: Any = super().make_backend()
        turn = backend.turn

        def breakable(timeout: float | None) -> Iterable[Any]:
            if self.failure is not None:
                raise self.failure
            return turn(timeout)  # type: ignore[no-any-return]

        backend.turn = breakable
        return backend
