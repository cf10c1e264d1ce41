"""The stack's processes as the machine sees them: memory by tree, and what is left after a stop."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import psutil

from include.stack.layout import Layout

KILL_AFTER_SECONDS = 10


def tree_memory(pid: int) -> int:
    """Resident bytes of a process and all that it started; 0 if it is gone."""
    try:
        root = psutil.Process(pid)
        return sum(_resident(process) for process in (root, *root.children(recursive=True)))
    except psutil.Error:
        return 0


def session_memory(pid: int) -> int:
    """Resident bytes of the process's whole session: a Spark driver's JVM is its parent, not its child."""
    try:
        session = os.getsid(pid)
    except ProcessLookupError:
        return 0
    return sum(_resident(process) for process in psutil.process_iter() if _session(process) == session)


def of_stack(layout: Layout) -> Iterator[psutil.Process]:
    """Every process that carries this stack's mark, whoever its parent is now; not the caller's own line."""
    own_line = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("PIPELINE_INSTANCE") == layout.instance
            if marked and process.pid not in own_line and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except psutil.Error:
            continue


def running_python(layout: Layout, program: str) -> list[psutil.Process]:
    """The Python processes of the stack that run this file or this module; not the JVM that started them."""
    found = []
    for process in of_stack(layout):
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if len(line) > 1 and "python" in line[0] and (line[1].endswith(program) or line[1:3] == ["-m", program]):
            found.append(process)
    return found


def end_all(layout: Layout) -> int:
    """Terminate, then kill, what still carries the mark; how many there were."""
    left = list(of_stack(layout))
    end(left, KILL_AFTER_SECONDS)
    return len(left)


def end(chosen: list[psutil.Process], patience_seconds: float) -> None:
    """SIGTERM, and SIGKILL for those that are still there after `patience_seconds`."""
    for process in chosen:
        _signal(process.terminate)
    for process in psutil.wait_procs(chosen, timeout=patience_seconds)[1]:
        _signal(process.kill)
    psutil.wait_procs(chosen, timeout=KILL_AFTER_SECONDS)


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except ProcessLookupError:
        return -1


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        return
