"""Logging: silent as a library, visible when run by `ringnet.run`. gnet: WithLogger and similar.

Everything goes to the standard logger `ringnet`, or to the one given by the option `logger`.

The law of this file: handlers, filters and formatters are users' code. An exception of theirs stays
here: the caller continues as if nothing had been logged.
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
ROOT.addHandler(logging.NullHandler())  # else Python prints warnings on its own
EXITS: Final = (SystemExit, KeyboardInterrupt)  # these end a program, wherever they are raised
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_REPORT_EVERY: Final = 10.0  # seconds between two lines of the same kind
_PLAIN: Final = (int, float, str)  # types of arguments that are passed on as they are
_MOST_KINDS: Final = 256  # kinds that are told apart; further ones share one
_numbers = count(1)

Kind = tuple[object, ...]


class Log:
    """The engine's wrapper of a logger: it never raises.

    `on_exit` is called with an exception of `EXITS` that a log handler raised.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._failure_reported = -_REPORT_EVERY  # when a failure of the log was last reported
        self.on_exit: Callable[[BaseException], object] = _no_exit

    def info(self, text: str, *arguments: object) -> None:
        """Log a line."""
        self.emit(logging.INFO, text, arguments)

    def warning(self, text: str, *arguments: object) -> None:
        """Log a line."""
        self.emit(logging.WARNING, text, arguments)

    def error(self, text: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a line, with the traceback of `error` if there is one."""
        self.emit(logging.ERROR, text, arguments, error)

    def critical(self, text: str, *arguments: object, error: BaseException | None = None) -> None:
        """Log a line, with the traceback of `error` if there is one."""
        self.emit(logging.CRITICAL, text, arguments, error)

    def emit(
        self,
        level: int,
        text: str,
        arguments: tuple[object, ...],
        error: BaseException | None = None,
    ) -> None:
        """Log a line at a level, with the traceback of `error` if there is one."""
        try:
            if self._logger.isEnabledFor(level):
                shown = [x if type(x) in _PLAIN else _Snapshot(x) for x in arguments]
                # A tuple, since `logging` would test the truth value of a bare exception.
                exc_info = None if error is None else (type(error), error, error.__traceback__)
                self._logger.log(level, text, *shown, exc_info=exc_info, stacklevel=3)
        except EXITS as interrupt:
            self.on_exit(interrupt)
        except BaseException as failure:
            self._report_failure(failure)

    def _report_failure(self, failure: BaseException) -> None:
        """Print a log handler's exception to standard error, if `logging` would do so."""
        with suppress(BaseException):
            now = monotonic()
            if logging.raiseExceptions and now - self._failure_reported >= _REPORT_EVERY:
                self._failure_reported = now
                print(f"ringnet: the log has failed: {failure!r}", file=sys.stderr)


class ThrottledLog:
    """Rate-limited logging: each kind of line at most once in 10 s, with a count of those left out.

    For any thread. It never raises.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        # When each kind was last logged, and how many lines were skipped since.
        self._entries: dict[Kind, list[float]] = {}
        self._lock = RLock()  # a signal handler may interrupt the thread that holds it

    def warning(self, text: str, *arguments: object, why: object = None) -> None:
        """Log a warning. Its kind is `text`, with `why` if there can be several reasons."""
        with suppress(Exception):  # memory may be short
            self._emit(logging.WARNING, (text, why), text, arguments)

    def error(self, text: str, *arguments: object, error: BaseException) -> None:
        """Log an error with its traceback. Its kind is the exception's class and its origin."""
        with suppress(Exception):
            self._emit(logging.ERROR, (text, *_origin_of(error)), text, arguments, error)

    def close(self) -> None:
        """Log how many lines were left out of each kind."""
        with self._lock:
            left = [(kind, int(skipped)) for kind, (_, skipped) in self._entries.items() if skipped]
            self._entries.clear()
        for kind, skipped in left:
            self._log.info("%d more lines like this one were left out: %s", skipped, _name(kind))

    def _emit(
        self,
        level: int,
        kind: Kind,
        text: str,
        arguments: tuple[object, ...],
        error: BaseException | None = None,
    ) -> None:
        skipped = self._due(kind)
        if skipped is not None:
            more = f" (and {skipped} more since it was last logged)" if skipped else ""
            self._log.emit(level, f"{text}%s", (*arguments, more), error)

    def _due(self, kind: Kind) -> int | None:
        """How many lines of the kind were skipped, if one is due now; else None."""
        now = monotonic()
        with self._lock:
            if kind not in self._entries and len(self._entries) >= _MOST_KINDS:
                kind = self._make_room(kind, now)
            entry = self._entries.setdefault(kind, [-_REPORT_EVERY, 0])
            if now - entry[0] < _REPORT_EVERY:
                entry[1] += 1
                return None
            skipped, entry[:] = int(entry[1]), [now, 0]
            return skipped

    def _make_room(self, kind: Kind, now: float) -> Kind:
        """Forget a kind that was last logged long ago; if there is none, use the shared kind."""
        for old, (last, skipped) in self._entries.items():
            if now - last >= _REPORT_EVERY and not skipped:
                del self._entries[old]
                return kind
        return ("other lines",)


class EngineLog:
    """The log of one engine, and its log file, if the option names one."""

    def __init__(self, options: Options) -> None:
        own = options.log_file or options.log_level
        self.logger = options.logger or (_OwnLogger() if own else ROOT)
        self.log = Log(self.logger)
        self.throttled = ThrottledLog(self.log)
        self._file: logging.Handler | None = None
        if options.log_level:
            self.logger.setLevel(options.log_level.upper())

    def open_file(self, path: str) -> None:
        """Open a file to log to as well. Raises OSError."""
        if path:
            self._file = logging.FileHandler(path, encoding="utf-8")
            self._file.setFormatter(logging.Formatter(_FORMAT))
            self.logger.addHandler(self._file)

    def close(self) -> None:
        """Log what was left out, and close the file. Never raises: the disk may be full."""
        self.throttled.close()
        file, self._file = self._file, None
        if file is None:
            return
        self.logger.removeHandler(file)
        try:
            file.close()
        except EXITS as interrupt:
            self.log.on_exit(interrupt)
        except BaseException as failure:
            self.log.warning("log_file could not be closed; its end may be missing: %s", failure)


class _OwnLogger(logging.Logger):
    """A child of `ringnet` for one engine; it is not registered with `logging`."""

    def __init__(self) -> None:
        super().__init__(f"{ROOT.name}.engine{next(_numbers)}")
        self.parent = ROOT

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """As for any logger, but never cached: only registered loggers are notified of changes."""
        off = self.disabled or self.manager.disable >= level
        return not off and level >= self.getEffectiveLevel()


def log_to_stderr(log: EngineLog) -> None:
    """Print the log to standard error, unless the program has configured a destination."""
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


class _Snapshot:
    """The text of an argument at this moment, for log handlers that format later."""

    __slots__ = ("_repr", "_str")

    def __init__(self, value: object) -> None:
        try:
            self._repr, self._str = repr(value), str(value)
        except Exception as error:
            self._repr = self._str = f"<{type(value).__name__}; repr failed: {error!r}>"

    def __repr__(self) -> str:
        return self._repr

    def __str__(self) -> str:
        return self._str


def _no_exit(interrupt: BaseException) -> None:
    """The default of `Log.on_exit`: there is no engine to stop."""


def _origin_of(error: BaseException) -> tuple[str, str, int]:
    """The name of an error's class, and the line that raised it."""
    trace = error.__traceback__
    file, line = "", 0
    while trace is not None:
        file, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return type(error).__qualname__, file, line


def _name(kind: Kind) -> str:
    """A readable name for a kind."""
    text = str(kind[0]).replace("%r", "...").replace("%s", "...").replace("%d", "...")
    reasons = [str(part) for part in kind[1:2] if part is not None]
    return " ".join([text, *(f"({reason})" for reason in reasons)])
