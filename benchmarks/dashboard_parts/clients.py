"""Many browsers at once that come and go, as their websockets: what each gets, and what the server keeps of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from websockets.asyncio.client import connect

from benchmarks.dashboard_parts.service import Service
from include.errors import MarketDataError

_GONE_SECONDS = 30


def rounds(service: Service, symbols: Sequence[str], clients: int, seconds: float, times: int) -> dict[str, Any]:
    """`times` rounds of so many clients: messages a client and second, how old a price is when it comes, and memory
    and connections of the server before and after each round. Raises MarketDataError where a client gets nothing."""
    stands = [_stand(service)]
    rates, ages = [], []
    for _ in range(times):
        counts, waits = asyncio.run(_round(service.url, symbols, clients, seconds))
        if min(counts) == 0:
            raise MarketDataError(f"{counts.count(0)} of {clients} clients got no message")
        rates += [count / seconds for count in counts]
        ages += waits
        deadline = time.monotonic() + _GONE_SECONDS
        while service.connections > stands[0]["connections"]:
            if time.monotonic() > deadline:
                raise MarketDataError(f"{service.connections} connections are left of clients that have gone")
            time.sleep(0.1)
        stands.append(_stand(service))
    levels = {f"p{level}": round(float(np.percentile(ages, level)), 1) for level in (50, 99)}
    return {
        "clients": clients,
        "messages_per_second": round(float(np.median(rates)), 1),
        "price_age_ms": levels,
        "server": stands,
    }


async def _round(url: str, symbols: Sequence[str], clients: int, seconds: float) -> tuple[list[int], list[float]]:
    ages: list[float] = []
    counts = await asyncio.gather(
        *(_client(url, symbols[number % len(symbols)], seconds, ages) for number in range(clients))
    )
    return list(counts), ages


async def _client(url: str, symbol: str, seconds: float, ages: list[float]) -> int:
    count, end = 0, time.monotonic() + seconds
    async with connect(f"ws{url.removeprefix('http')}/live?search=%3Fsymbol%3D{symbol}", origin=url) as socket:
        while (left := end - time.monotonic()) > 0:
            try:
                frame = await asyncio.wait_for(socket.recv(), left)
            except TimeoutError:
                break
            now = time.time() * 1_000
            count += 1
            for message in json.loads(frame):
                if message["type"] == "prices":
                    ages += [now - cells["asOf"] for cells in message["prices"].values()]
    return count


def _stand(service: Service) -> dict[str, Any]:
    return {
        "memory_mib": service.memory_mib,
        "connections": service.connections,
        "files": service.process.num_fds(),
        "threads": service.process.num_threads(),
    }
