"""Why listening on an address failed, and what to do about it, for each kind of address."""

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
    errno.ENOTSOCK: "the descriptor is not a socket",
}
_INTERNET = {
    errno.EADDRINUSE: "another process or engine is listening there: stop it, or use another port",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EAFNOSUPPORT: "this machine does not support that address family",
}
_UNIX = {
    errno.EACCES: "this user may not create or remove a socket there: use another directory",
    errno.EPERM: "this user may not create or remove a socket there: use another directory",
    errno.ENOENT: "the directory of the socket does not exist: create it",
    errno.ENOTDIR: "a part of the path is not a directory: use another path",
    errno.EROFS: "the file system is read-only: use a path on another, such as /run",
    errno.ELOOP: "the symbolic links on the path form a loop: use another path",
    errno.ENOSPC: "the file system is full: free some space, or use a path on another",
    errno.ENAMETOOLONG: "the path is too long: use a shorter one",
}


def refused(address: Address, error: OSError) -> BindError:
    """The error of a failed listen, with the address, the reason and the remedy."""
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
        return "the file system does not support sockets: use a path on another, such as /run"
    return _UNIX.get(number)


def _no_access(port: int) -> str:
    if 0 < port < FIRST_FREE_PORT:
        return (
            f"ports below {FIRST_FREE_PORT} need privileges (CAP_NET_BIND_SERVICE): "
            "use a higher one"
        )
    return "a security policy of this system (such as SELinux) forbids it: use another port"


def _in_use(address: Address) -> str:
    """What exists at the socket's path, and what to do about it."""
    if address.is_abstract:
        return "another process or engine uses that name: stop it, or use another name"
    try:
        mode = os.lstat(address.sun_path).st_mode
    except OSError:
        return "another process or engine is listening there: stop it, or use another path"
    if stat.S_ISLNK(mode) and not os.path.exists(address.sun_path):
        return "there is a dangling symbolic link: remove it, or use another path"
    if not stat.S_ISSOCK(mode) and not stat.S_ISLNK(mode):
        what = "a directory" if stat.S_ISDIR(mode) else "a file that is not a socket"
        return f"there is {what}: remove it, or use another path"
    if not os.access(address.sun_path, os.W_OK):
        return "there is a socket of another user: stop its process, or use another path"
    return "another process or engine is listening there: stop it, or use another path"
