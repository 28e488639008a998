"""Binding: listening sockets are created before any thread runs, so that every error is raised at
the call.

A host name is bound at all its addresses, so that it does not matter which one a client tries
first. The bound addresses, as they are printed, can be passed again and mean the same.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from contextlib import suppress
from typing import Any, Final

from ...sockaddr import ask_for_local
from ..base.address import Address, address_of
from ..base.errors import AddressError, BindError, shown
from ..base.multicast import is_multicast, join, only_joined
from ..base.options import Options
from ..base.remedies import refused
from ..base.resolve import Target, resolve
from ..base.sockets import listens, prepare_socket
from ..connection.listener import Listener

MOST_OF_A_NAME: Final = 64  # addresses of one name
_TRIES: Final = 16  # to find a port that is free at all addresses of a name
# A name may have addresses that this machine lacks: they are skipped if another one can be bound.
_ABSENT: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def open_listeners(addresses: list[Address], options: Options, reactors: int) -> list[Listener]:
    """Listen on every address, or on none: if one fails, the others are closed.

    Raises BindError (an OSError with its errno) with the address and the remedy, or AddressError
    for a host that cannot be resolved.
    """
    for address in addresses:
        if address.is_inherited and addresses.count(address) > 1:
            raise AddressError(f"{address} is given twice: a descriptor can be taken over once")
    opened: list[Listener] = []
    try:
        for address in addresses:
            own = options.reuse_port and not address.is_unix
            opener = _Opener(address, options, reactors if own else 1)
            opened += opener.open()
    except BaseException:
        _close(opened)
        raise
    return opened


def _close(listeners: list[Listener]) -> None:
    for listener in listeners:
        with suppress(OSError):  # the error that led here matters more
            listener.close()


class _Opener:
    """Opens the listeners of one address, each with `count` sockets."""

    def __init__(self, address: Address, options: Options, count: int) -> None:
        self._address = address
        self._options = options
        self._count = count

    def open(self) -> list[Listener]:
        """Open one listener for each address of a name, all with the same port."""
        if self._address.is_inherited:
            return [self._inherit()]
        targets = _targets(self._address)
        for _ in range(_TRIES - 1):
            try:
                return self._open_all(targets)
            except BindError as error:
                # A port that was free at the first address may be taken at another.
                is_random = self._address.port == 0 and len(targets) > 1
                if not is_random or error.errno != errno.EADDRINUSE:
                    raise
        return self._open_all(targets)

    def _open_all(self, targets: list[Target]) -> list[Listener]:
        opened: list[Listener] = []
        absent: BindError | None = None
        port = self._address.port
        try:
            for family, where in targets:
                try:
                    opened.append(self._open(family, _with_port(where, port)))
                except BindError as error:
                    if len(targets) == 1 or error.errno not in _ABSENT:
                        raise
                    absent = error
                else:
                    port = opened[-1].parsed.port
            if absent is not None and not opened:
                raise absent
        except BaseException:
            _close(opened)
            raise
        return opened

    def _open(self, family: int, where: Any) -> Listener:
        """Open one listener; its first socket determines the port."""
        socks: list[socket.socket] = []
        try:
            for _ in range(self._count):
                socks.append(self._bind(family, where, not socks))
                where = where if self._address.is_unix else socks[0].getsockname()
        except BaseException:
            for sock in socks:
                sock.close()
            raise
        options = self._options
        # Sockets accepted from a Unix socket inherit no options.
        has_sizes = bool(options.socket_receive_buffer or options.socket_send_buffer)
        bound = _bound(self._address, socks[0])
        return Listener(bound, socks, prepares_each=self._address.is_unix and has_sizes)

    def _bind(self, family: int, where: Any, is_first: bool) -> socket.socket:
        address, options = self._address, self._options
        try:
            sock = socket.socket(family, address.type)
        except OSError as error:
            raise refused(address, error) from error
        try:
            self._prepare(sock, where)
            if address.is_unix:
                _remove_stale(address)
            sock.bind(where)
            if not address.is_datagram:
                sock.listen(options.backlog)
            else:
                self._receive(sock, is_first)
            sock.setblocking(False)
        except OSError as error:
            sock.close()
            raise refused(address, error) from error
        except BaseException:
            sock.close()
            raise
        return sock

    def _receive(self, sock: socket.socket, is_first: bool) -> None:
        """Set what a bound datagram socket receives: local addresses and multicast groups."""
        if self._address.is_unix:
            return
        if self._count > 1:
            only_joined(sock)  # only one of them receives multicast
        host = sock.getsockname()[0]
        if not ask_for_local(sock) and is_first and is_multicast(host):
            join(sock, host, self._options.multicast_interface)

    def _prepare(self, sock: socket.socket, where: Any) -> None:
        address, options = self._address, self._options
        if not address.is_unix:
            # For datagrams, or on Windows, it would let anyone take over the port.
            if os.name == "posix" and address.is_stream and options.reuse_address:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if options.reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if sock.family == socket.AF_INET6:
                only_v6 = not _serves_v4(address, where[0])
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        # Accepted sockets inherit the options, which saves system calls.
        prepare_socket(sock, options)

    def _inherit(self) -> Listener:
        """Take over a socket that is already listening; the descriptor is ours from now on."""
        address = self._address
        try:
            sock = socket.socket(fileno=address.port)
        except OSError as error:
            raise refused(address, error) from error
        try:
            found = address_of(sock)
            if found.type != socket.SOCK_DGRAM and not listens(sock):
                raise OSError(errno.EINVAL, "it is not a listening socket")
            prepare_socket(sock, self._options)
            sock.setblocking(False)
            sock.set_inheritable(False)
        except OSError as error:
            sock.close()
            raise refused(address, error) from error
        # Connections that already wait in its backlog lack the options.
        return Listener(found, [sock], prepares_each=True)


def _targets(address: Address) -> list[Target]:
    """Families and addresses to bind; all addresses of a name."""
    family = address.family
    if address.is_unix:
        return [(family, address.sun_path)]
    if not address.host and family == socket.AF_UNSPEC:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        found = resolve(address, family, socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise AddressError(error.strerror) from error
    if len(found) > MOST_OF_A_NAME:
        raise AddressError(
            f"{shown(str(address))} has {len(found)} addresses, more than the {MOST_OF_A_NAME} "
            "that can be listened on: give numeric addresses instead"
        )
    return found


def _with_port(where: Any, port: int) -> Any:
    return where if isinstance(where, bytes) else (where[0], port, *where[2:])


def _serves_v4(address: Address, host: str) -> bool:
    """Whether an IPv6 socket serves IPv4 too: on the wildcard address, or an IPv4-mapped one."""
    if address.family == socket.AF_INET6:
        return False
    return not address.host or ipaddress.IPv6Address(host).ipv4_mapped is not None


def _bound(address: Address, sock: socket.socket) -> Address:
    """The address that was bound, in a form that binds the same again."""
    if address.is_unix:
        return address
    host, port = sock.getsockname()[:2]
    is_for_both = not address.host and address.family == socket.AF_UNSPEC
    return Address(address.scheme, "" if is_for_both else host, port)


def _remove_stale(address: Address) -> None:
    """Remove a socket file on which nothing listens any more. One in use is left alone."""
    path = address.sun_path
    if address.is_abstract:
        return
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return  # bind will report what is wrong, if anything
    if not is_socket:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    with socket.socket(address.family, address.type) as trial:
        trial.setblocking(False)
        try:
            trial.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return  # it is in use, and bind will report it
