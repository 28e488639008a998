"""Listening sockets: bound before a thread runs, so that every error is raised at the call."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat

from .address import Address, address_of
from .errors import AddressError, BindError
from .multicast import is_multicast, join, leave
from .options import Options
from .sockopts import prepare_socket

_REMEDIES = {
    errno.EADDRINUSE: "another process or engine listens there: stop it, or take another port",
    errno.EACCES: "ports below 1024 need privileges (CAP_NET_BIND_SERVICE): take a higher one",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EAFNOSUPPORT: "this machine does not speak that address family",
    errno.EMFILE: "the process has no free descriptor: raise `ulimit -n`",
    errno.EBADF: "no such descriptor was inherited: pass it to the process (`pass_fds`)",
    errno.ENOTSOCK: "the descriptor is something else than a socket",
    errno.ENOENT: "the directory of the socket does not exist: make it",
}


class Listener:
    """One address that an engine serves; `conn.listener` is the one a connection came from.

    Its methods are for any thread, as long as the engine runs.
    """

    def __init__(self, address: Address, socks: list[socket.socket]) -> None:
        self._address = address
        self._socks = socks  # one, or one for each reactor
        self._file = _inode(address)

    def __repr__(self) -> str:
        return f"<ringnet.Listener {self.address}>"

    @property
    def address(self) -> str:
        """Where it really listens."""
        return str(self._address)

    @property
    def scheme(self) -> str:
        """`tcp`, `udp`, `unix`, ..., as in its address."""
        return self._address.scheme

    @property
    def has_one_for_each(self) -> bool:
        """Whether each reactor has a socket of its own: what it accepts there, it keeps."""
        return len(self._socks) > 1

    @property
    def parsed(self) -> Address:
        """The address in its parts."""
        return self._address

    def dup(self) -> socket.socket:
        """A socket object of its own for the same listening socket. gnet: Dup, DupListener.

        As long as it is open, the address stays taken and newcomers wait in it. Raises OSError
        once the engine has stopped.
        """
        return self._socks[0].dup()

    def join_group(self, group: str, interface: str | int = "") -> None:
        """Receive what is sent to a multicast group (ip(7), ipv6(7)), on an interface by name or
        index. Raises OSError with the option's name. gnet: WithMulticastInterfaceIndex."""
        for sock in self._socks:
            join(sock, group, interface)

    def leave_group(self, group: str, interface: str | int = "") -> None:
        """Receive it no more. Raises OSError with the option's name."""
        for sock in self._socks:
            leave(sock, group, interface)

    def hand_over(self) -> list[int]:
        """See `Engine.hand_over`."""
        self._file = None
        found = []
        for sock in self._socks:
            fd = os.dup(sock.fileno())
            os.set_inheritable(fd, True)
            found.append(fd)
        return found

    def descriptors(self) -> list[int]:
        """New descriptors for the reactors: one, or one for each of them."""
        return [os.dup(sock.fileno()) for sock in self._socks]

    def close(self) -> None:
        """Give the engine's own hold on it back, and remove its file."""
        for sock in self._socks:
            sock.close()
        if self._file is not None and self._file == _inode(self._address):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._address.path)
        self._file = None


def open_listeners(
    addresses: list[Address], options: Options, nonblocking: bool, reactors: int
) -> list[Listener]:
    """Listen on every address, or on none: what was bound is closed when one fails.

    Raises BindError (an OSError with its errno) that names the address and the remedy, or
    AddressError for a host that cannot be resolved.
    """
    opened: list[Listener] = []
    try:
        for address in addresses:
            own = options.reuse_port and not address.is_unix
            opened.append(_listen(address, options, nonblocking, reactors if own else 1))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _listen(address: Address, options: Options, nonblocking: bool, count: int) -> Listener:
    """`count` sockets with the same address: the first finds the port."""
    if address.is_inherited:
        return _inherit(address, nonblocking)
    socks: list[socket.socket] = []
    bound = address
    try:
        for _ in range(count):
            socks.append(_open(bound, options, nonblocking))
            bound = _bound(bound, socks[0])
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return Listener(bound, socks)


def _inherit(address: Address, nonblocking: bool) -> Listener:
    """A socket that listens already; the descriptor is ours from now on."""
    try:
        sock = socket.socket(fileno=address.port)
    except OSError as error:
        raise _refused(address, error) from error
    try:
        found = address_of(sock)
        if found.type != socket.SOCK_DGRAM and not _listens(sock):
            raise OSError(errno.EINVAL, "it is no listening socket")
        sock.setblocking(not nonblocking)
        sock.set_inheritable(False)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error
    return Listener(found, [sock])


def _listens(sock: socket.socket) -> bool:
    known = getattr(socket, "SO_ACCEPTCONN", None)
    return known is None or bool(sock.getsockopt(socket.SOL_SOCKET, known))


def _bound(address: Address, sock: socket.socket) -> Address:
    if address.is_unix:
        return address
    host, port = sock.getsockname()[:2]
    return Address(address.scheme, host, port)


def _open(address: Address, options: Options, nonblocking: bool) -> socket.socket:
    family, where = _resolve(address)
    try:
        sock = socket.socket(family, address.type)
    except OSError as error:
        raise _refused(address, error) from error
    try:
        _prepare(sock, address, options)
        _bind(sock, address, where, options)
        sock.setblocking(not nonblocking)
    except OSError as error:
        sock.close()
        raise _refused(address, error) from error
    return sock


def _bind(sock: socket.socket, address: Address, where: object, options: Options) -> None:
    if address.is_unix:
        _remove_stale(address)
    sock.bind(where)  # type: ignore[arg-type]
    if not address.is_datagram:
        sock.listen(options.backlog)
    elif not address.is_unix and is_multicast(sock.getsockname()[0]):
        join(sock, sock.getsockname()[0], options.multicast_interface)


def _resolve(address: Address) -> tuple[int, object]:
    """The family and the sockaddr to bind: the first that the resolver gives for a name."""
    family = address.family
    if address.is_unix:
        return family, address.sun_path
    if not address.host and family == socket.AF_UNSPEC:
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        found = socket.getaddrinfo(
            address.host or None,
            address.port,
            family=family,
            type=address.type,
            flags=socket.AI_PASSIVE,
        )
    except (socket.gaierror, UnicodeError) as error:
        raise AddressError(f"{str(address)!r}: the host cannot be resolved: {error}") from error
    return found[0][0], found[0][4]


def _prepare(sock: socket.socket, address: Address, options: Options) -> None:
    if address.is_unix:
        prepare_socket(sock, options)
        return
    # For datagrams, and elsewhere than on POSIX, it would let anyone take the port over.
    if os.name == "posix" and address.is_stream and options.reuse_address:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        only_v6 = address.scheme.endswith("6") or bool(address.host)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
    # Accepted sockets inherit them, which saves system calls for each.
    prepare_socket(sock, options)


def _inode(address: Address) -> tuple[int, int] | None:
    """Which file a Unix address has, if it has one."""
    if not address.is_unix or address.path.startswith("@"):
        return None
    try:
        found = os.stat(address.path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(address: Address) -> None:
    """Remove a socket file that nobody listens on any more. One in use is left alone."""
    try:
        is_socket = stat.S_ISSOCK(os.stat(address.path).st_mode)
    except OSError:
        return
    if not is_socket:
        raise OSError(errno.EADDRINUSE, "the path is a file that is no socket")
    with socket.socket(address.family, address.type) as trial:
        trial.setblocking(False)
        try:
            trial.connect(address.path)
        except ConnectionRefusedError:
            os.unlink(address.path)
        except OSError:
            return  # somebody is there, and bind says so


def _refused(address: Address, error: OSError) -> BindError:
    number = error.errno or 0
    remedy = _REMEDIES.get(number)
    text = f"cannot listen on {address}: {error.strerror or error}"
    return BindError(number, f"{text} ({remedy})" if remedy else text)
