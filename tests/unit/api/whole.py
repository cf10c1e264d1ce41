"""The whole API over in-memory stores, each with a little in it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.api.app import create_api
from tests.unit.api.event_twins import MemoryEvents
from tests.unit.dashboard.lineage_twins import MemoryLineage
from tests.unit.dashboard.quality_twins import RUN, MemoryQuality
from tests.unit.dashboard.twins import (
    INSTRUMENTS,
    START,
    MemoryAnomalies,
    MemoryIndicators,
    MemoryPrices,
    MemoryReader,
    anomaly,
    cached,
    candle,
    indicator,
)

MINUTES = 10


def whole_api(**changes: Any) -> FastAPI:
    """`changes` are arguments of `create_api`."""
    minutes = [candle(minute) for minute in range(MINUTES)]
    hours = [candle(0, interval="5m", window_start=START + timedelta(minutes=5 * n)) for n in range(30)]
    given: dict[str, Any] = {
        "market": "sandbox",
        "instruments": INSTRUMENTS,
        "reader": MemoryReader([*minutes, *hours]),
        "cache": MemoryPrices({"AAPL": cached("101.5")}),
        "events": MemoryEvents(),
        "quality": MemoryQuality(RUN),
        "lineage": MemoryLineage(),
        "indicators": MemoryIndicators([indicator(minute) for minute in range(MINUTES)]),
        "anomalies": MemoryAnomalies([anomaly(minute) for minute in range(MINUTES)]),
    }
    return create_api(**{**given, **changes})


def client_of(**changes: Any) -> TestClient:
    return TestClient(whole_api(**changes))
