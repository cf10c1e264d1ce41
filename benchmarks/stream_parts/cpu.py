"""CPU seconds by side: each side is the tree of processes below one pid."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def cpu_seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds so far of each root and all below it, those that ended among them.

    What ended is counted by its parent, which waited for it. By pid and not by environment: PostgreSQL's is
    not to be read where it runs in a user namespace. A root that is gone counts 0.
    """
    return {side: _tree(pid) for side, pid in roots.items()}


def less(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    """Side by side, what was spent in between."""
    return {side: spent - before.get(side, 0.0) for side, spent in after.items()}


def _tree(pid: int) -> float:
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_own(process) for process in members)


def _own(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
