"""What the examples share: their command line, the line they print on boot, and their end."""

from __future__ import annotations

import argparse
import ast
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ringnet

BACKENDS = ("auto", "io_uring", "epoll", "kqueue", "select")


def arguments(about: str | None, default: str) -> argparse.Namespace:
    """Read `[ADDRESS ...] [--backend B] [--reactors N]`; without an address it is `default`."""
    return parser(about, default).parse_args()


def parser(about: str | None, default: str) -> argparse.ArgumentParser:
    """What reads them, for those who have more to ask."""
    first_line = (about or "").partition("\n")[0]
    command = argparse.ArgumentParser(description=first_line)
    command.add_argument(
        "addresses", nargs="*", default=[default], metavar="ADDRESS", help=f"default: {default}"
    )
    command.add_argument("--backend", choices=BACKENDS, default="auto", help="default: auto")
    command.add_argument(
        "--reactors", type=int, default=1, metavar="N", help="threads that serve; default: 1"
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of the engine (docs/options.md); may be given again",
    )
    return command


def address(text: str) -> str:
    """An address to dial: refused at the start, and not when somebody needs it."""
    try:
        ringnet.Engine(ringnet.EventHandler(), text)  # which looks at it, and binds nothing yet
    except ringnet.AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def more_options(given: argparse.Namespace) -> dict[str, Any]:
    """What `--option` says: numbers, True and tuples as Python writes them, else text."""
    found: dict[str, Any] = {}
    for text in given.option:
        name, _, value = text.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def announce(engine: ringnet.Engine) -> None:
    """Say in one line what runs, where, and on which backend. For a handler's `on_boot`."""
    name = Path(sys.argv[0]).stem
    where = ", ".join(engine.addresses)
    print(f"{name} on {where} ({engine.backend}: {engine.backend_reason})", flush=True)


def serve(handler: ringnet.EventHandler, given: argparse.Namespace, **options: Any) -> None:
    """Run until SIGINT or SIGTERM. `--option` counts more than `options`."""
    options = {"backend": given.backend, "reactors": given.reactors} | options
    options |= more_options(given)
    with plain_words():
        ringnet.run(handler, *given.addresses, **options)


@contextmanager
def plain_words() -> Iterator[None]:
    """What cannot run is said in a line, with exit status 1; Ctrl-C ends a program in silence."""
    try:
        yield
    except (ringnet.RingnetError, OSError, UnicodeError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # as shells say that it was interrupted


@contextmanager
def heeding_signals() -> Iterator[None]:
    """For a main thread that waits for futures and queues, which are locks.

    Ctrl-C that comes just before it sleeps on a lock is heeded when it wakes: so it wakes now and
    then. `ringnet.run` needs no such thing.
    """
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
