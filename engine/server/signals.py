"""The signals that end a program, as `run` handles them.

The law of this file: the first signal requests a graceful stop, the second an immediate end; a
reactor that does not respond, because a handler does not return, is interrupted.
"""

from __future__ import annotations

import _thread
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .engine import Engine

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
SIGNAL_GRACE: Final = 0.5  # seconds that a reactor has to respond to the second signal
SignalHandler = Callable[[int, FrameType | None], Any]


class SignalPipe:
    """Delivers signals to the reactor on the main thread, which watches it.

    Python's signal handler does not run while the reactor sleeps, and may run just before it falls
    asleep; but the handler in C writes to this socket at once (see `signal.set_wakeup_fd`).
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._arrived = 0  # signals that have arrived
        self._handled = 0
        self._unhandled_since = 0.0
        self._is_watched = False  # a thread will check whether the reactor responds
        self._is_ignored = False  # and has found that it does not
        self._is_over = False
        self._lock = threading.RLock()  # so that no signal is sent after the end
        self._raised: list[BaseException] = []  # by the program's own handlers
        self.before: dict[int, SignalHandler] = {}  # the program's own handlers

    def __enter__(self) -> SignalPipe:
        self._reader, self.writer = socket.socketpair()
        self._reader.setblocking(False)
        self.writer.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self.writer.close()

    def fileno(self) -> int:
        """The descriptor to watch."""
        return self._reader.fileno()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The Python handler of the signals, on the main thread."""
        if self._is_ignored:
            self._is_ignored = False
            raise KeyboardInterrupt("a handler has not returned although the program should end")
        if self._arrived == self._handled:
            self._unhandled_since = monotonic()
        self._arrived += 1
        with suppress(BlockingIOError):  # if it is full, the reactor is woken anyway
            self.writer.send(b"!")  # in case `handle` has already read what the system wrote
        self._call_before(number, frame)
        if self._arrived > 1:
            self._insist(number)

    def handle(self) -> None:
        """On the reactor: act on the signals that have arrived."""
        with suppress(BlockingIOError):
            self._reader.recv(4096)
        while self._handled < self._arrived:
            self._engine.request_stop(0 if self._handled else None)
            self._handled += 1

    # The program's own handlers

    def _call_before(self, number: int, frame: FrameType | None) -> None:
        own = self.before.get(number)
        if own is None:
            return
        try:
            own(number, frame)
        except BaseException as error:  # such as SystemExit: raised once the engine has ended
            self._raised.append(error)

    def reraise(self) -> None:
        """Raise what the program's own handlers raised; kept until the engine has ended."""
        if self._raised:
            raise self._raised[0]

    # A reactor that does not respond

    def _insist(self, number: int) -> None:
        """Interrupt the main thread if its reactor does not respond to this signal soon."""
        is_late = self._arrived - self._handled > 1
        if is_late and monotonic() - self._unhandled_since >= SIGNAL_GRACE:
            raise KeyboardInterrupt("a handler has not returned since the first signal")
        if self._is_watched:
            return
        self._is_watched = True
        # Not with `threading`, in whose locks the signal may have interrupted this thread.
        try:
            _thread.start_new_thread(self._interrupt_if_stuck, (self._arrived, number))
        except RuntimeError:  # no more threads: then the next signal tries again
            self._is_watched = False

    def _interrupt_if_stuck(self, arrived: int, number: int) -> None:
        sleep(SIGNAL_GRACE)
        self._is_watched = False
        with self._lock:
            if self._handled >= arrived or self._is_over:
                return
            self._is_ignored = True
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, number)  # this also interrupts a system call

    def end(self) -> None:
        """The reactor has ended, and handles no more signals."""
        with self._lock:
            self._is_over = True
            self._is_ignored = False


@contextmanager
def handling_signals(pipe: SignalPipe) -> Iterator[None]:
    """Send the signals that end a program to the pipe.

    Ignored signals are left alone, and so are those with a handler outside Python, which could not
    be restored.
    """
    on_signal = pipe.on_signal
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number in SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    pipe.before = {number: before[number] for number in ours if before[number] not in defaults}
    for number in ours:
        signal.signal(number, on_signal)
    fd = signal.set_wakeup_fd(pipe.writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        pipe.end()
        signal.set_wakeup_fd(fd)
        for number in ours:
            if signal.getsignal(number) == on_signal:  # else the program has set another meanwhile
                signal.signal(number, before[number])
