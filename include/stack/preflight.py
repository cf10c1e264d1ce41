"""What must be true before a start; each failure is one line that says what to do."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterable

import psutil

from include.errors import StackError
from include.stack.plan import LOOPBACK, Plan
from include.stack.services import Service

#: All processes of a running stack together take about 3 GiB.
NEEDED_MEMORY_GIB = 3.5
NEEDED_DISK_GIB = 2.0


def check(plan: Plan, to_start: Iterable[Service], *, is_mended: bool = False) -> None:
    """Raises StackError for the first thing that would make the start fail."""
    for problem in problems(plan, to_start, is_mended=is_mended):
        raise StackError(problem)


def problems(plan: Plan, to_start: Iterable[Service], *, is_mended: bool = False) -> list[str]:
    """All that stands in the way, in words. A stack that is mended has its memory and its driver already."""
    found = []
    free_gib = shutil.disk_usage(plan.layout.home).free / 2**30
    if free_gib < NEEDED_DISK_GIB:
        found.append(
            f"{free_gib:.1f} GiB free on the disk of {plan.layout.home}, a stack needs {NEEDED_DISK_GIB:.0f}: "
            "free some space or set PIPELINE_HOME to another disk"
        )
    memory_gib = psutil.virtual_memory().available / 2**30
    if memory_gib < NEEDED_MEMORY_GIB and not is_mended:
        found.append(
            f"{memory_gib:.1f} GiB of memory available, a stack needs {NEEDED_MEMORY_GIB}: "
            "close something, or run it on a larger machine"
        )
    ports = plan.settings.ports
    wanted = {service.name: service.port for service in to_start if service.port is not None}
    if "kafka" in wanted:
        wanted["kafka's controller"] = ports.kafka_controller
    if not is_mended:
        wanted["the Spark UI"] = ports.spark_ui
    for name, port in wanted.items():
        if _is_taken(port):
            found.append(
                f"port {port} for {name} is taken{_by_whom(port)}: "
                "stop that program, or set PIPELINE_PORT_OFFSET to shift all ports"
            )
    return found


def _is_taken(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            address = connection.laddr
            listens = connection.status == psutil.CONN_LISTEN and address and address.port == port
            if listens and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return ""
    return ""
