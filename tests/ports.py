"""Ports that nobody uses."""

from __future__ import annotations

import os
import socket

#: The contract's ports that a stack of ours listens on, without its offset.
BASE_PORTS = (8080, 8050, 8070, 4040, 29092, 29093, 25432, 26379)


def free_port_offset() -> int:
    """An offset at which every port of a stack is free; each process looks from another one on."""
    offsets = list(range(1_000, 3_600, 100))
    first = os.getpid() % len(offsets)
    for offset in offsets[first:] + offsets[:first]:
        if all(is_free(port + offset) for port in BASE_PORTS):
            return offset
    raise AssertionError("no free range of ports")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0
