"""Why an address could not be listened on, and what helps: other words for each kind of address."""

from __future__ import annotations

import errno
import os
import stat

from .address import Address
from .errors import BindError, shortened

FIRST_FREE_PORT = 1024  # by ip_unprivileged_port_start of ip(7), unless set otherwise

_EVERYWHERE = {
    errno.EMFILE: "the process has no free descriptor: raise `ulimit -n`",
    errno.ENFILE: "the system has no free descriptor: raise fs.file-max",
}
_INHERITED = {
    errno.EBADF: "no such descriptor was inherited: pass it to the process (`pass_fds`)",
    errno.ENOTSOCK: "the descriptor is something else than a socket",
}
_INTERNET = {
    errno.EADDRINUSE: "another process or engine listens there: stop it, or take another port",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EAFNOSUPPORT: "this machine does not speak that address family",
}
_UNIX = {
    errno.EACCES: "this user may not make or remove a socket there: take a directory of its own",
    errno.EPERM: "this user may not make or remove a socket there: take a directory of its own",
    errno.ENOENT: "the directory of the socket does not exist: make it",
    errno.ENOTDIR: "a part of the path is no directory: take another path",
    errno.EROFS: "the file system can only be read: take a path on another, such as /run",
    errno.ELOOP: "the links on the path lead in a circle: take another path",
    errno.ENOSPC: "the file system is full: make room, or take a path on another",
    errno.ENAMETOOLONG: "the path is too long: take a shorter one",
}


def refused(address: Address, error: OSError) -> BindError:
    """The error of a failed listen: it names the address, the reason and the remedy."""
    number = error.errno or 0
    text = f"cannot listen on {shortened(str(address))}: {error.strerror or error}"
    remedy = _remedy(address, number)
    return BindError(number, f"{text} ({remedy})" if remedy else text)


def _remedy(address: Address, number: int) -> str | None:
    if number in _EVERYWHERE:
        return _EVERYWHERE[number]
    if address.is_inherited:
        return _INHERITED.get(number)
    if address.is_unix:
        return _of_a_path(address, number)
    if number == errno.EACCES:
        return _no_access(address.port)
    if number == errno.EINVAL and address.host.lower().startswith("fe80:"):
        return "a link-local address needs its interface: write it as [fe80::1%eth0]"
    return _INTERNET.get(number)


def _of_a_path(address: Address, number: int) -> str | None:
    if number == errno.EADDRINUSE:
        return _in_use(address)
    if number == errno.ENOENT and os.path.isdir(os.path.dirname(address.sun_path) or b"."):
        return "the file system takes no sockets: take a path on another, such as /run"
    return _UNIX.get(number)


def _no_access(port: int) -> str:
    if 0 < port < FIRST_FREE_PORT:
        return (
            f"ports below {FIRST_FREE_PORT} need privileges (CAP_NET_BIND_SERVICE): "
            "take a higher one"
        )
    return "a policy of this system refuses that (such as SELinux's): take another port"


def _in_use(address: Address) -> str:
    """What is where the socket should be."""
    if address.is_abstract:
        return "another process or engine has that name: stop it, or take another name"
    try:
        mode = os.lstat(address.sun_path).st_mode
    except OSError:
        return "another process or engine listens there: stop it, or take another path"
    if stat.S_ISLNK(mode) and not os.path.exists(address.sun_path):
        return "a link that leads nowhere is there: remove it, or take another path"
    if not stat.S_ISSOCK(mode) and not stat.S_ISLNK(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a file that is no socket"
        return f"{what} is there: remove it, or take another path"
    if not os.access(address.sun_path, os.W_OK):
        return "the socket of another user is there: stop its process, or take another path"
    return "another process or engine listens there: stop it, or take another path"
