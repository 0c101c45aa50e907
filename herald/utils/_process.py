"""How much memory this process holds, on every system that Herald runs on, and which versions it runs."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["installed_version", "resident_bytes"]

if sys.platform == "win32":
    from ctypes import wintypes

    class _Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("size", wintypes.DWORD),
            ("page_faults", wintypes.DWORD),
            ("peak_working_set", ctypes.c_size_t),
            ("working_set", ctypes.c_size_t),
            ("peak_paged_pool", ctypes.c_size_t),
            ("paged_pool", ctypes.c_size_t),
            ("peak_nonpaged_pool", ctypes.c_size_t),
            ("nonpaged_pool", ctypes.c_size_t),
            ("pagefile", ctypes.c_size_t),
            ("peak_pagefile", ctypes.c_size_t),
        )

    def resident_bytes() -> float | None:
        """Return the physical memory of this process, bytes; None where the system does not say."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        ask = kernel.K32GetProcessMemoryInfo
        ask.argtypes = (wintypes.HANDLE, ctypes.POINTER(_Counters), wintypes.DWORD)
        ask.restype = wintypes.BOOL
        counters = _Counters(size=ctypes.sizeof(_Counters))
        if not ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.size):
            return None
        return float(counters.working_set)

elif sys.platform == "darwin":

    class _TaskInfo(ctypes.Structure):
        """``struct proc_taskinfo`` of sys/proc_info.h."""

        _fields_ = (
            ("virtual", ctypes.c_uint64),
            ("resident", ctypes.c_uint64),
            ("times", ctypes.c_uint64 * 4),
            ("counts", ctypes.c_int32 * 12),
        )

    _PROC_PIDTASKINFO = 4

    def resident_bytes() -> float | None:
        """Return the physical memory of this process, bytes; None where the system does not say."""
        info = _TaskInfo()
        size = ctypes.sizeof(info)
        told = ctypes.CDLL(None).proc_pidinfo(os.getpid(), _PROC_PIDTASKINFO, ctypes.c_uint64(0), ctypes.byref(info), size)
        return float(info.resident) if told == size else None

else:

    def resident_bytes() -> float | None:
        """Return the physical memory of this process, bytes; None where the system does not say."""
        try:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return float(pages * os.sysconf("SC_PAGE_SIZE"))


@cache
def installed_version(distribution: str) -> str:
    """Return the version of an installed *distribution*; looking it up reads files, so it is looked up once."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"  # run from a source tree that is not installed
