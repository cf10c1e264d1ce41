"""Plain HTTP to our own services on loopback."""

from __future__ import annotations

from functools import cache

import httpx2

PROBE_SECONDS = 5


@cache
def local_http() -> httpx2.Client:
    """One for all: to make one loads the machine's certificates, which no service of ours has a use for."""
    return httpx2.Client(timeout=PROBE_SECONDS, trust_env=False)
