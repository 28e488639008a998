"""Where a server's CPU time goes: the output of `perf script`, summed up in a few areas.

A sample is a stack of kernel functions, innermost first, or a place in user space. In the kernel,
the first line of KERNEL that matches any function of the stack decides: copying during a send
counts as copying, everything else in it as sending, and io_uring's own is what remains of its
system call. In user space, the first line of USER that matches the program or library decides.
Samples that no line matches have areas of their own, so the shares sum to 1.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import translate
from typing import Any

# Names of functions and files; "*" stands for anything, as in a shell.
KERNEL = {
    "copying user memory": "_copy_*iter* copy_user_* rep_movs_* rep_stos_* *_copy_*_user* "
    "__check_object_size skb_copy_datagram_iter skb_do_copy_data_nocache",
    "page faults, mmap": "*exc_page_fault do_user_addr_fault handle_mm_fault do_mem_abort "
    "*_sys_mmap *_sys_munmap *_sys_mremap *_sys_madvise *_sys_brk",
    "scheduling, waking": "schedule schedule_* __schedule preempt_schedule* ret_from_fork* "
    "try_to_wake_up wake_up_* __wake_up* sock_def_readable eventfd_* *_sys_futex *_sys_sched_*",
    "accept, connect, close": "*do_accept *_accept *_accept4 *_connect *_close *_shutdown __*fput* "
    "__sock_release close_fd* filp_close *_sys_socket",
    "send path": "*sendmsg* *_sendto* sock_write_iter *sendfile* *_writev",
    "receive path": "*recvmsg* *_recvfrom* sock_read_iter net_rx_action",
    "epoll, poll, select": "ep_* do_epoll_* *_sys_epoll_* do_sys_poll do_select core_sys_select "
    "*_sys_poll *_sys_select *_sys_pselect6",
    "io_uring's own": "io_* __io_* *_sys_io_uring_* tctx_task_work*",
    "other system calls": "do_syscall_64 entry_SYSCALL_* el0_svc*",
}
OTHER_KERNEL = "other kernel"
USER = {
    "C core": "_ring.*.so",
    "cffi": "_cffi_backend.*.so libffi.*",
    "parser": "parser.*.so url_parser.*.so hiredis.*.so libhiredis.*",
    "libc, memory": "libc.so.* libc-2* ld-linux* libjemalloc.* [[]vdso[]]",
    "C or Go program, uvloop": "limit_* liburing.* gnet redis-server redis-check-rdb nginx "
    "loop.*.so",
    "interpreter": "python* libpython* pypy* libpypy* *.cpython-*.so *.pypy*.so [[]JIT[]]*",
}
OTHER = "other"
KERNEL_AREAS = (*KERNEL, OTHER_KERNEL)
AREAS = (*reversed(USER), OTHER, *KERNEL_AREAS)
KERNEL_ADDRESSES = 63  # the bit that is set in all of them

Frame = tuple[int, str, str]  # address, function, file


@dataclass(frozen=True)
class Profile:
    """The share of each area in the CPU time of a peer in a scenario; they sum to 1."""

    scenario: str
    peer: str
    variant: str
    samples: int
    shares: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """For `Profile(**...)`."""
        return asdict(self)


def _compiled(table: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    return {
        area: re.compile("|".join(map(translate, names.split()))) for area, names in table.items()
    }


_KERNEL, _USER = _compiled(KERNEL), _compiled(USER)
_SAMPLE = re.compile(r" *(\d+\.\d+): ")


def area_of(stack: Sequence[Frame]) -> str:
    """The area of a sample, its innermost frame first."""
    address, _, file = stack[0]
    if not address >> KERNEL_ADDRESSES:
        return _area_of_file(file)
    return KERNEL_AREAS[min(_line(name) for at, name, _ in stack if at >> KERNEL_ADDRESSES)]


@functools.cache
def _area_of_file(file: str) -> str:
    name = file.rpartition("/")[2]
    return next((area for area, known in _USER.items() if known.match(name)), OTHER)


@functools.cache
def _line(function: str) -> int:
    """The number of the first line of KERNEL that matches, or of the one after the last."""
    knows = (number for number, known in enumerate(_KERNEL.values()) if known.match(function))
    return next(knows, len(_KERNEL))


def stacks(lines: Iterable[str]) -> Iterator[tuple[float, list[Frame]]]:
    """The samples in the output of `perf script -F time,event,ip,sym,dso`, each with its time."""
    second, stack = 0.0, list[Frame]()
    for line in lines:
        if begin := _SAMPLE.match(line):
            if stack:
                yield second, stack
            second, stack = float(begin[1]), []
        elif line[:1].isspace():
            address, _, rest = line.strip().partition(" ")
            function, _, file = rest.rpartition(" (")
            stack.append((int(address, 16), function, file.removesuffix(")")))
    if stack:
        yield second, stack


def counted(lines: Iterable[str], first: float, last: float) -> Counter[str]:
    """The number of samples by area, between two times in seconds."""
    return Counter(area_of(stack) for second, stack in stacks(lines) if first <= second <= last)


def shares(counts: Counter[str]) -> dict[str, float]:
    """The share of each area that has samples."""
    return {area: counts[area] / counts.total() for area in AREAS if counts[area]}
