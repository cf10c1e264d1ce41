"""Processes of this machine that were started detached: whether they live, and an end to what is left of them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable

import psutil

from include.operations.supervision import Process
from include.storage.lease import StreamState
from include.storage.supervision import Start

#: The machine's clock may be set between two looks at when a process began; a number is not given again so soon.
CLOCKS_SECONDS = 5.0
KILL_SECONDS = 10.0


def this_host() -> str:
    return socket.gethostname()


def owner_process(lease: StreamState | None) -> Process:
    """Of the lease's owner."""
    if lease is None or lease.owner is None or lease.owner != f"{this_host()}:{lease.pid}":
        return Process.UNKNOWN
    return look(lease.pid, lease.process_started)


def starter_process(start: Start | None) -> Process:
    """Of what was launched for a start."""
    if start is None or start.host != this_host():
        return Process.UNKNOWN
    return look(start.pid, start.process_started)


def look(pid: int | None, started: float | None) -> Process:
    """By number and start time: a later process may have got the number."""
    if pid is None or started is None:
        return Process.UNKNOWN
    return Process.ALIVE if process_of(pid, started) else Process.GONE


def session_members(
    leader: int | None, leaders_start: float | None, *sure: tuple[int | None, float | None]
) -> list[psutil.Process]:
    """All processes of the session, if its leader or one of the `sure` members (pid, start time) is still there.

    Without one of them the number may be another session's by now, and the answer is empty.
    """
    if leader is None or not any(_in_session(*one, leader) for one in [(leader, leaders_start), *sure]):
        return []
    members = (process for process in psutil.process_iter() if _session(process.pid) == leader)
    return [process for process in members if not _is_zombie(process)]


def kill_all(processes: Iterable[psutil.Process]) -> int:
    """SIGKILL, which reaches a frozen one too, and wait until they are gone; how many there were."""
    chosen = [process for process in processes if _signal(process, signal.SIGKILL)]
    psutil.wait_procs(chosen, timeout=KILL_SECONDS)
    return len(chosen)


def ask_to_end(processes: Iterable[psutil.Process]) -> None:
    """SIGTERM."""
    for process in processes:
        _signal(process, signal.SIGTERM)


def process_of(pid: int | None, started: float | None) -> list[psutil.Process]:
    """The one living process with this number and start time, or none."""
    found = _same(pid, started)
    return [found] if found is not None and not _is_zombie(found) else []


def _same(pid: int | None, started: float | None) -> psutil.Process | None:
    if pid is None or started is None:
        return None
    try:
        process = psutil.Process(pid)
        return process if abs(process.create_time() - started) <= CLOCKS_SECONDS else None
    except psutil.NoSuchProcess:
        return None


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _in_session(pid: int | None, started: float | None, leader: int) -> bool:
    # A zombie counts: its number belongs to no other yet.
    return pid is not None and _same(pid, started) is not None and _session(pid) == leader


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _signal(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return False
    return True
