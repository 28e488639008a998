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
    """The parser of these arguments, for examples that add more."""
    first_line = (about or "").partition("\n")[0]
    command = argparse.ArgumentParser(description=first_line)
    command.add_argument(
        "addresses", nargs="*", default=[default], metavar="ADDRESS", help=f"default: {default}"
    )
    command.add_argument("--backend", choices=BACKENDS, default="auto", help="default: auto")
    command.add_argument(
        "--reactors", type=int, default=1, metavar="N", help="number of threads; default: 1"
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of the engine (docs/options.md); may be repeated",
    )
    return command


def address(text: str) -> str:
    """An address to dial: checked at the start, and not when it is first used."""
    try:
        ringnet.Engine(ringnet.EventHandler(), text)  # this checks it, but does not bind yet
    except ringnet.AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def more_options(given: argparse.Namespace) -> dict[str, Any]:
    """The values of `--option`: numbers, True and tuples in Python's notation, otherwise text."""
    found: dict[str, Any] = {}
    for text in given.option:
        name, _, value = text.partition("=")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found


def announce(engine: ringnet.Engine) -> None:
    """Print in one line what runs, where, and on which backend. For a handler's `on_boot`."""
    name = Path(sys.argv[0]).stem
    where = ", ".join(engine.addresses)
    print(f"{name} on {where} ({engine.backend}: {engine.backend_reason})", flush=True)


def serve(handler: ringnet.EventHandler, given: argparse.Namespace, **options: Any) -> None:
    """Run until SIGINT or SIGTERM. `--option` overrides `options`."""
    options = {"backend": given.backend, "reactors": given.reactors} | options
    options |= more_options(given)
    with plain_words():
        ringnet.run(handler, *given.addresses, **options)


@contextmanager
def plain_words() -> Iterator[None]:
    """Print an error in one line, with exit status 1; Ctrl-C ends the program silently."""
    try:
        yield
    except (KeyboardInterrupt, ringnet.EngineStopped):  # the engine: interrupted while it logged
        sys.exit(130)  # as shells report an interrupted program
    except (ringnet.RingnetError, OSError, UnicodeError) as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")


@contextmanager
def prompt_signals() -> Iterator[None]:
    """For a main thread that waits for futures and queues, which sleep on locks.

    If Ctrl-C comes just before it falls asleep, it is handled only when the thread wakes: so this
    wakes it from time to time. `ringnet.run` does not need it.
    """
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.5, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
