"""Memory of a process that computes long histories."""

from __future__ import annotations

import ctypes
import sys

import pyarrow as pa

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_ARRAY_BYTES, _KEPT_BYTES = 64 * 2**20, 2**30


def keep_freed_memory() -> None:
    """What columns have used stays with the process, up to a gibibyte, instead of going back to the system.

    By default each large column is given back as soon as it is freed, and the next one's pages are made anew, one
    fault each: on histories that takes up to a third of the time, and more the longer they are. For processes that
    end with their work. Arrow's memory is then malloc's; without glibc nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_THRESHOLD, _ARRAY_BYTES)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    pa.set_memory_pool(pa.system_memory_pool())
