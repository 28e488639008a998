"""Logging: silent as a library, helpful when run by `ringnet.run`. gnet: WithLogger and its kin.

Everything goes to the standard logger `ringnet`, or to the one that the option `logger` names.

The law of this file: handlers, filters and formatters are users' code. What they raise stays here:
whoever logs goes on as if nothing had been said.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import RLock
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .options import Options

ROOT: Final = logging.getLogger("ringnet")
ROOT.addHandler(logging.NullHandler())  # else Python prints warnings that nobody asked for
EXITS: Final = (SystemExit, KeyboardInterrupt)  # what ends a program, wherever it is raised
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SAY_EVERY: Final = 10.0  # seconds between two lines of the same kind
_PLAIN: Final = (int, float, str)  # which stay as they are
_MOST_KINDS: Final = 256  # that are told apart; further ones share one
_numbers = count(1)

Kind = tuple[object, ...]


class Log:
    """A logger as the engine uses it: it never raises.

    `heed` gets what of `EXITS` a handler of the log raised.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._complained = -_SAY_EVERY  # when it was last said that the log does not work
        self.heed: Callable[[BaseException], object] = _ignore

    def info(self, text: str, *arguments: object) -> None:
        """Log a line."""
        self.emit(logging.INFO, text, arguments)

    def warning(self, text: str, *arguments: object) -> None:
        """Log a line."""
        self.emit(logging.WARNING, text, arguments)

    def error(self, text: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a line, with the traceback of an error."""
        self.emit(logging.ERROR, text, arguments, error)

    def critical(self, text: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a line, with the traceback of an error."""
        self.emit(logging.CRITICAL, text, arguments, error)

    def emit(
        self,
        level: int,
        text: str,
        arguments: tuple[object, ...],
        error: BaseException | None = None,
    ) -> None:
        """Log a line at a level, with the traceback of an error."""
        try:
            if self._logger.isEnabledFor(level):
                shown = [x if type(x) in _PLAIN else _Shown(x) for x in arguments]
                # In parts, since `logging` asks an exception itself whether it is true.
                told = None if error is None else (type(error), error, error.__traceback__)
                self._logger.log(level, text, *shown, exc_info=told, stacklevel=3)
        except EXITS as wish:
            self.heed(wish)
        except BaseException as failure:
            self._complain(failure)

    def _complain(self, failure: BaseException) -> None:
        """Say to standard error what a log handler raised, where `logging` would do so."""
        with suppress(BaseException):
            now = monotonic()
            if logging.raiseExceptions and now - self._complained >= _SAY_EVERY:
                self._complained = now
                print(f"ringnet: the log has failed: {failure!r}", file=sys.stderr)


class Seldom:
    """Lines that would come in floods: each kind is logged once in a while, with how often it came.

    For any thread. It never raises.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._said: dict[Kind, list[float]] = {}  # when it was last said, and how often not since
        self._lock = RLock()  # a handler of a signal may interrupt who holds it

    def say(self, text: str, *arguments: object, why: object = None) -> None:
        """Warn of something. Its kind is `text`, with `why` where it has several reasons."""
        with suppress(Exception):  # there may be no memory for it
            self._tell(logging.WARNING, (text, why), text, arguments)

    def failed(self, text: str, *arguments: object, error: BaseException) -> None:
        """Tell of an error with its traceback. Its kind is what was raised, and where."""
        with suppress(Exception):
            self._tell(logging.ERROR, (text, *_origin_of(error)), text, arguments, error)

    def close(self) -> None:
        """Say how often was left out what is not said again."""
        with self._lock:
            left = [(kind, int(unsaid)) for kind, (_, unsaid) in self._said.items() if unsaid]
            self._said.clear()
        for kind, unsaid in left:
            self._log.info("%d more were left out of the log of: %s", unsaid, _name(kind))

    def _tell(
        self,
        level: int,
        kind: Kind,
        text: str,
        arguments: tuple[object, ...],
        error: BaseException | None = None,
    ) -> None:
        unsaid = self._due(kind)
        if unsaid is not None:
            more = f" (and {unsaid} times since it was last said)" if unsaid else ""
            self._log.emit(level, f"{text}%s", (*arguments, more), error)

    def _due(self, kind: Kind) -> int | None:
        """How often it was not said, where it is to be said now."""
        now = monotonic()
        with self._lock:
            if kind not in self._said and len(self._said) >= _MOST_KINDS:
                kind = self._make_room(kind, now)
            entry = self._said.setdefault(kind, [-_SAY_EVERY, 0])
            if now - entry[0] < _SAY_EVERY:
                entry[1] += 1
                return None
            unsaid, entry[:] = int(entry[1]), [now, 0]
            return unsaid

    def _make_room(self, kind: Kind, now: float) -> Kind:
        """Forget a kind that was said long ago; where there is none, this one is of the rest."""
        for old, (last, unsaid) in self._said.items():
            if now - last >= _SAY_EVERY and not unsaid:
                del self._said[old]
                return kind
        return ("other lines",)


class EngineLog:
    """The log of one engine, and the file it was told to write."""

    def __init__(self, options: Options) -> None:
        own = options.log_file or options.log_level
        self.logger = options.logger or (_OwnLogger() if own else ROOT)
        self.log = Log(self.logger)
        self.seldom = Seldom(self.log)
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
        """Say what is left to say, and close the file. Never raises: the disk may be full."""
        self.seldom.close()
        file, self._file = self._file, None
        if file is None:
            return
        self.logger.removeHandler(file)
        try:
            file.close()
        except EXITS as wish:
            self.log.heed(wish)
        except BaseException as failure:
            self.log.warning("log_file could not be closed, and may lack its end: %s", failure)


class _OwnLogger(logging.Logger):
    """A child of `ringnet` for one engine, which nobody else keeps."""

    def __init__(self) -> None:
        super().__init__(f"{ROOT.name}.engine{next(_numbers)}")
        self.parent = ROOT

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """As of any logger, but never remembered: only loggers that are kept hear of changes."""
        off = self.disabled or self.manager.disable >= level
        return not off and level >= self.getEffectiveLevel()


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


class _Shown:
    """How something is at this moment, for handlers of the log that look later."""

    __slots__ = ("_repr", "_str")

    def __init__(self, value: object) -> None:
        try:
            self._repr, self._str = repr(value), str(value)
        except Exception as error:
            self._repr = self._str = f"<a {type(value).__name__} that cannot be shown: {error!r}>"

    def __repr__(self) -> str:
        return self._repr

    def __str__(self) -> str:
        return self._str


def _ignore(wish: BaseException) -> None:
    """Nobody is there to end anything."""


def _origin_of(error: BaseException) -> tuple[str, str, int]:
    """The name of an error's class, and the line that raised it."""
    trace = error.__traceback__
    file, line = "", 0
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return type(error).__qualname__, file, line


def _name(kind: Kind) -> str:
    """A kind in words."""
    text = str(kind[0]).replace("%r", "...").replace("%s", "...").replace("%d", "...")
    reasons = [str(part) for part in kind[1:2] if part is not None]
    return " ".join([text, *(f"({reason})" for reason in reasons)])
