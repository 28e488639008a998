"""What of its memory a process has in use: unlike the resident memory, no matter of fragments.

What the C library keeps of freed memory lies between blocks in use, grows and shrinks by megabytes,
and is no leak.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from xml.etree import ElementTree

libc = ctypes.CDLL(None)


def in_use() -> int:
    """Bytes that malloc has lent out, in the arenas of all threads; 0 where it cannot be asked.

    Small Python objects are not among them: see `sys.getallocatedblocks`. See malloc_info(3).
    """
    if not hasattr(libc, "malloc_info"):
        return 0
    return _in_use(ElementTree.fromstring(_malloc_info()))


def trim() -> None:
    """Give back what malloc keeps of freed memory, where it can be told to: that is no leak."""
    gc.collect()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _malloc_info() -> bytes:
    libc.open_memstream.restype = ctypes.c_void_p
    libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.fclose.argtypes = libc.free.argtypes = [ctypes.c_void_p]
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
    if not stream:
        raise MemoryError("open_memstream(3) failed")
    failed = libc.malloc_info(0, stream)
    libc.fclose(stream)
    try:
        if failed:
            raise OSError("malloc_info(3) failed")
        return ctypes.string_at(text, size.value)
    finally:
        libc.free(text)


def _in_use(report: ElementTree.Element) -> int:
    """The totals are at the end, behind those of each arena."""
    sizes = {part.get("type"): int(part.get("size", 0)) for part in report.findall("total")}
    system = {part.get("type"): int(part.get("size", 0)) for part in report.findall("system")}
    return system["current"] - sizes["fast"] - sizes["rest"] + sizes["mmap"]


def blocks() -> int:
    """Small Python objects, roughly; 0 where the interpreter does not count them."""
    count = getattr(sys, "getallocatedblocks", None)
    return count() if count else 0


def resident() -> int:
    """Bytes of this process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
