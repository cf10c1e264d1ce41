"""The sources with a key, through the whole client and over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from include.market.event import Source, reason_invalid
from include.sandbox.simulated import SimulatedMarket
from include.settings import Settings
from include.sources.base import MINUTE_BARS, MINUTE_US, QUOTES, Want
from include.sources.catalogue import catalogue
from include.sources.gate import OpenGate
from include.sources.registry import build_client


@pytest.mark.parametrize(
    ("name", "want", "symbol", "events"),
    [
        ("alpha_vantage", MINUTE_BARS, "IBM", 10),
        ("alpha_vantage", QUOTES, "BRK-B", 1),
        ("coingecko", QUOTES, "UNI-USD", 1),
    ],
)
def test_the_stand_in_answers_our_client(
    simulated: SimulatedMarket, serve: Callable[..., Any], name: Source, want: Want, symbol: str, events: int
) -> None:
    with serve(simulated) as url:
        given: dict[str, Any] = {f"{name}_base_url": f"{url}/{name}", f"{name}_api_key": "sandbox-realtime"}
        config = Settings(market="sandbox", alpha_vantage_plan="realtime", **given)
        client = build_client(name, config, OpenGate(), lambda: int(time.time() * 1_000_000))
        try:
            now_us = int(time.time() * 1_000_000)
            since_us = now_us // MINUTE_US * MINUTE_US - 10 * MINUTE_US
            (question,) = client.source.questions(want, [catalogue().get(symbol)], {symbol: since_us}, now_us)
            result = client.fetch(question)
        finally:
            client.close()
    # A minute may end while this is asked.
    assert events <= len(result.events) <= events + 1
    assert [reason_invalid(event, now_us + MINUTE_US) for event in result.events] == [None] * len(result.events)
    assert (result.rejected, {event.symbol for event in result.events}) == ([], {symbol})
