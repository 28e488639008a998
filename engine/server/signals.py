"""The signals that end a program, as `run` heeds them.

The law of this file: the first signal asks for a graceful stop, the second for an end at once; and
a reactor that does not heed it, because a handler does not return, is interrupted.
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
SIGNAL_GRACE: Final = 0.5  # seconds that a reactor has to heed the second signal
Handler = Callable[[int, FrameType | None], Any]


class SignalPipe:
    """Brings signals to a reactor of the main thread, which watches it.

    A reactor that sleeps could not run Python's handler of a signal, and one that is about to
    sleep might do so before it: but the system's handler writes here at once.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked = 0  # signals that came
        self._handled = 0
        self._unhandled_since = 0.0
        self._is_watched = False  # a thread will look whether the reactor heeds
        self._is_ignored = False  # and found that it does not
        self._is_over = False
        self._lock = threading.RLock()  # so that no signal is sent when it is over
        self._raised: list[BaseException] = []  # by the program's own handlers
        self.before: dict[int, Handler] = {}  # which are these

    def __enter__(self) -> SignalPipe:
        self._here, self.there = socket.socketpair()
        self._here.setblocking(False)
        self.there.setblocking(False)
        return self

    def __exit__(self, *_: object) -> None:
        self._here.close()
        self.there.close()

    def fileno(self) -> int:
        """What to watch."""
        return self._here.fileno()

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Python's handler of a signal, on the main thread."""
        if self._is_ignored:
            self._is_ignored = False
            raise KeyboardInterrupt("a handler has not returned when the program was to end")
        if self._asked == self._handled:
            self._unhandled_since = monotonic()
        self._asked += 1
        with suppress(BlockingIOError):  # full is as good
            self.there.send(b"!")  # should `heed` have read already what the system wrote
        self._call_before(number, frame)
        if self._asked > 1:
            self._insist(number)

    def handle(self) -> None:
        """The reactor has heard it."""
        with suppress(BlockingIOError):
            self._here.recv(4096)
        while self._handled < self._asked:
            self._engine.request_stop(0 if self._handled else None)
            self._handled += 1

    # The program's own handlers

    def _call_before(self, number: int, frame: FrameType | None) -> None:
        own = self.before.get(number)
        if own is None:
            return
        try:
            own(number, frame)
        except BaseException as error:  # such as SystemExit: when the engine has ended in order
            self._raised.append(error)

    def raise_what_was_raised(self) -> None:
        """What the program's own handlers raised is kept until the engine has ended."""
        if self._raised:
            raise self._raised[0]

    # A reactor that does not heed

    def _insist(self, number: int) -> None:
        """Have the main thread interrupted if its reactor does not heed this signal soon."""
        is_late = self._asked - self._handled > 1
        if is_late and monotonic() - self._unhandled_since >= SIGNAL_GRACE:
            raise KeyboardInterrupt("a handler has not returned since the first signal")
        if self._is_watched:
            return
        self._is_watched = True
        # Not by `threading`, whose locks the signal may have interrupted.
        try:
            _thread.start_new_thread(self._interrupt_if_stuck, (self._asked, number))
        except RuntimeError:  # the system gives no more: then the next signal insists
            self._is_watched = False

    def _interrupt_if_stuck(self, asked: int, number: int) -> None:
        sleep(SIGNAL_GRACE)
        self._is_watched = False
        with self._lock:
            if self._handled >= asked or self._is_over:
                return
            self._is_ignored = True
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, number)  # which also ends the system call it may be in

    def end(self) -> None:
        """The reactor is over, and heeds no more."""
        with self._lock:
            self._is_over = True
            self._is_ignored = False


@contextmanager
def handling_signals(pipe: SignalPipe) -> Iterator[None]:
    """Have the signals that end a program ring the pipe.

    Left alone is what is ignored, and what a handler outside of Python is for, which could not be
    restored.
    """
    ask = pipe.ask
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number in SIGNALS if before[number] not in (signal.SIG_IGN, None)]
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    pipe.before = {number: before[number] for number in ours if before[number] not in defaults}
    for number in ours:
        signal.signal(number, ask)
    fd = signal.set_wakeup_fd(pipe.there.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        pipe.end()
        signal.set_wakeup_fd(fd)
        for number in ours:
            if signal.getsignal(number) == ask:  # else the program has set another meanwhile
                signal.signal(number, before[number])
