"""Listening sockets: bound before a thread runs, so that every error is raised at the call."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass

from .address import Address
from .errors import AddressError, BindError
from .options import Options

_FAMILIES = {
    "tcp": socket.AF_UNSPEC,
    "tcp4": socket.AF_INET,
    "tcp6": socket.AF_INET6,
}
_REMEDIES = {
    errno.EADDRINUSE: "another process or engine listens there: stop it, or take another port",
    errno.EACCES: "ports below 1024 need privileges (CAP_NET_BIND_SERVICE): take a higher one",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EAFNOSUPPORT: "this machine does not speak that address family",
    errno.EMFILE: "the process has no free descriptor: raise `ulimit -n`",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that listens, and the address it was really bound to."""

    sock: socket.socket
    address: Address


def open_listeners(addresses: list[Address], options: Options, nonblocking: bool) -> list[Listener]:
    """Listen on every address, or on none: what was bound is closed when one fails.

    Raises BindError (an OSError with its errno) that names the address and the remedy, or
    AddressError for a host that cannot be resolved.
    """
    opened: list[Listener] = []
    try:
        opened.extend(_open(address, options, nonblocking) for address in addresses)
    except BaseException:
        for listener in opened:
            listener.sock.close()
        raise
    return opened


def _open(address: Address, options: Options, nonblocking: bool) -> Listener:
    family, where = _resolve(address)
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _refused(address, error) from error
    try:
        _prepare(sock, address, options, nonblocking)
        sock.bind(where)
        sock.listen(options.backlog)
        host, port = sock.getsockname()[:2]
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error
    return Listener(sock, Address(address.scheme, host, port))


def _resolve(address: Address) -> tuple[int, tuple[object, ...]]:
    """The family and the sockaddr to bind: the first that the resolver gives for a name."""
    family = _FAMILIES[address.scheme]
    if not address.host and family == socket.AF_UNSPEC:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        found = socket.getaddrinfo(
            address.host or None,
            address.port,
            family=family,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )
    except (socket.gaierror, UnicodeError) as error:
        raise AddressError(f"{str(address)!r}: the host cannot be resolved: {error}") from error
    return found[0][0], found[0][4]


def _prepare(sock: socket.socket, address: Address, options: Options, nonblocking: bool) -> None:
    if os.name == "posix":  # elsewhere the option means that anyone may take the port over
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        only_v6 = address.scheme == "tcp6" or bool(address.host)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
    # Accepted sockets inherit it, which saves a system call for each.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.tcp_nodelay)
    sock.setblocking(not nonblocking)


def _refused(address: Address, error: OSError) -> BindError:
    number = error.errno or 0
    remedy = _REMEDIES.get(number)
    text = f"cannot listen on {address}: {error.strerror or error}"
    return BindError(number, f"{text} ({remedy})" if remedy else text)
