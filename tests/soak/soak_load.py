"""The load of soak.py: many short conversations of every kind, in a process of its own.

Each line of input is a round: seconds, then targets as STRICT=ADDRESS. The answer is `ok COUNT`, or
what went wrong. At a strict target (1) every byte has to come; at another one, whose options may
well refuse and cut off, what does come has to be right.
"""

from __future__ import annotations

import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

WAIT = 20.0  # seconds
THREADS = 12


class Cut(Exception):
    """The target ended the conversation."""


def connect(address: str) -> socket.socket:
    scheme, _, rest = address.partition("://")
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_UNIX if scheme == "unix" else socket.AF_INET, kind)
    sock.settimeout(WAIT)
    host, _, port = rest.rpartition(":")
    try:
        sock.connect(rest if scheme == "unix" else (host, int(port)))
    except OSError:
        sock.close()
        raise
    return sock


def send_beside(sock: socket.socket, data: bytes, then_end: bool) -> threading.Thread:
    def send() -> None:
        try:
            sock.sendall(data)
            if then_end:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # whoever reads notices

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def read(sock: socket.socket, expected: bytes, piece: int = 1 << 16, pause: float = 0.0) -> None:
    """Raises Cut, and AssertionError where a byte is another one."""
    count = 0
    while count < len(expected):
        part = sock.recv(min(piece, len(expected) - count))
        if not part:
            raise Cut
        assert part == expected[count : count + len(part)], f"wrong bytes at {count}"
        count += len(part)
        time.sleep(pause)


def small(sock: socket.socket, chance: random.Random) -> None:
    for _ in range(chance.randrange(1, 50)):
        data = chance.randbytes(chance.randrange(1, 200))
        sock.sendall(data)
        read(sock, data)


def large(sock: socket.socket, chance: random.Random) -> None:
    data = chance.randbytes(chance.randrange(1, 600_000))
    sends = send_beside(sock, data, then_end=False)
    try:
        read(sock, data)
    finally:
        if sys.exc_info()[0]:
            sock.close()
        sends.join(WAIT)


def slow_reader(sock: socket.socket, chance: random.Random) -> None:
    data = chance.randbytes(200_000)
    sends = send_beside(sock, data, then_end=True)
    try:
        read(sock, data, piece=10_000, pause=0.005)
        assert sock.recv(1) == b"", "more came than was sent"
    finally:
        if sys.exc_info()[0]:
            sock.close()
        sends.join(WAIT)


def half_close(sock: socket.socket, chance: random.Random) -> None:
    data = chance.randbytes(chance.randrange(1, 5_000))
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    read(sock, data)
    if sock.recv(1):
        raise AssertionError("more came than was sent")


def abrupt(sock: socket.socket, chance: random.Random) -> None:
    sock.sendall(chance.randbytes(chance.randrange(100_000)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def never_reads(sock: socket.socket, chance: random.Random) -> None:
    sock.settimeout(0.2)
    try:
        for _ in range(40):
            sock.sendall(bytes(50_000))
    except TimeoutError:
        return


def silent(sock: socket.socket, chance: random.Random) -> None:
    time.sleep(chance.random() * 0.3)


def datagrams(sock: socket.socket, chance: random.Random) -> None:
    for _ in range(20):
        data = chance.randbytes(chance.randrange(1, 1_400))
        sock.send(data)
        sock.settimeout(0.5)
        try:
            # Half of it comes first, and what is left of a datagram is gone.
            assert data.startswith(sock.recv(2_000))
        except TimeoutError:
            return  # UDP may lose it


TALKS: list[Callable[[socket.socket, random.Random], None]] = [
    small,
    small,
    large,
    slow_reader,
    half_close,
    abrupt,
    never_reads,
    silent,
]


def talk(strict: bool, address: str, chance: random.Random) -> None:
    how = datagrams if address.startswith("udp") else chance.choice(TALKS)
    try:
        with connect(address) as sock:
            how(sock, chance)
    except (OSError, Cut) as error:
        if strict and how not in (abrupt, never_reads):
            raise AssertionError(f"{how.__name__} at {address}: {error!r}") from error


def round_of(seconds: float, targets: list[tuple[bool, str]], seed: int) -> str:
    end = time.monotonic() + seconds
    wrong: list[str] = []
    counts = [0] * THREADS

    def work(number: int) -> None:
        chance = random.Random(seed + number)
        while time.monotonic() < end and not wrong:
            try:
                talk(*chance.choice(targets), chance)
                counts[number] += 1
            except AssertionError as error:
                wrong.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong[0] if wrong else f"ok {sum(counts)}"


def main() -> None:
    seed = int(sys.argv[1])
    for line in sys.stdin:
        seconds, *words = line.split()
        targets = [(word[0] == "1", word[2:]) for word in words]
        print(round_of(float(seconds), targets, seed), flush=True)
        seed += THREADS


if __name__ == "__main__":
    main()
