"""The ground of an engine: the backend that was chosen for it, and why."""

from __future__ import annotations

from ..base.contract import Backend
from ..base.errors import BackendUnavailable, EngineStateError
from ..base.logs import Log
from ..base.options import Options
from .choose import Choice, Verdict, choose, choose_instead, confirm


class Ground:
    """Written by `start`, for any thread afterwards."""

    def __init__(self, options: Options, log: Log) -> None:
        self._options = options
        self._log = log
        self._choice: Choice | None = None

    @property
    def chosen(self) -> Choice:
        """The choice. Raises EngineStateError before it is made."""
        if self._choice is None:
            raise EngineStateError("the backend is chosen in start(): start the engine first")
        return self._choice

    def choose(self) -> None:
        """Choose by the options. Raises BackendUnavailable."""
        chosen = choose(self._options.backend)
        self._take(confirm(chosen, self._options.bounds(), self._options.reactors))

    def make_backend(self) -> Backend:
        """Create a backend on the calling thread."""
        return self.chosen.make(self._options.bounds())

    def fall_back(self, error: BaseException) -> bool:
        """Choose another backend if the chosen one could not be created; returns whether it did."""
        if self.chosen.is_forced or not isinstance(error, BackendUnavailable):
            return False
        self._take(choose_instead(Verdict("io_uring", False, str(error))))
        return True

    def _take(self, choice: Choice) -> None:
        self._choice = choice
        passed = choice.passed_over
        if passed is not None:
            remedy = f"; {passed.remedy}" if passed.remedy else ""
            self._log.warning("using %s: %s%s", choice.name, passed.reason, remedy)
