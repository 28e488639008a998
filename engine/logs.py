"""Logging: silent as a library, helpful when run by `ringnet.run`. gnet: WithLogger and its kin.

Everything goes to the standard logger `ringnet`, or to the one that the option `logger` names.
"""

from __future__ import annotations

import logging
import sys
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .options import Options

ROOT: Final = logging.getLogger("ringnet")
ROOT.addHandler(logging.NullHandler())  # else Python prints warnings that nobody asked for
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SAY_EVERY: Final = 10.0  # seconds between two warnings of the same kind
_numbers = count(1)


class EngineLog:
    """The logger of one engine, and the file it was told to write."""

    def __init__(self, options: Options) -> None:
        own = options.log_file or options.log_level
        self.logger = options.logger or (ROOT.getChild(f"engine{next(_numbers)}") if own else ROOT)
        self._file: logging.Handler | None = None
        if options.log_level:
            self.logger.setLevel(options.log_level.upper())

    def open_file(self, path: str) -> None:
        """Write to a file, which is opened now. Raises OSError."""
        if path:
            self._file = logging.FileHandler(path, encoding="utf-8")
            self._file.setFormatter(logging.Formatter(_FORMAT))
            self.logger.addHandler(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self.logger.removeHandler(self._file)
            self._file.close()
            self._file = None


def be_helpful(log: EngineLog) -> None:
    """Print the log to standard error, where the program has not said where it shall go."""
    logger = log.logger
    while logger.propagate and logger.parent is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return
        logger = logger.parent
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(_FORMAT))
    ROOT.addHandler(handler)


class Seldom:
    """Warnings that would come in floods: each kind is said once a while, with how often it was."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, text: str, *arguments: object) -> None:
        """`text` is the kind."""
        now = monotonic()
        last, unsaid = self._said.get(text, (-_SAY_EVERY, 0))
        if now - last < _SAY_EVERY:
            self._said[text] = last, unsaid + 1
            return
        self._said[text] = now, 0
        more = f" (and {unsaid} times since it was last said)" if unsaid else ""
        self._logger.warning(text + "%s", *arguments, more)
