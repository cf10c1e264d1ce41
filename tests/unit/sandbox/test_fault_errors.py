"""What our sources make of every fault: the error that failover, breaker and reports go by, or the facts that
are left out. The sandbox answers in the process; faults of the wire itself are in `test_http`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import pytest
from starlette.testclient import TestClient
from tenacity import Retrying, stop_after_attempt

from include.errors import SourceError
from include.market.event import MICROSECONDS, Source, reason_invalid
from include.sandbox.app import FAULTS, create_app
from include.sandbox.bars import MINUTE
from include.sandbox.simulated import SimulatedMarket
from include.settings import Settings
from include.sources import alpha_vantage, binance, coingecko, yahoo
from include.sources.base import MINUTE_BARS, QUOTES, Answer, FetchResult, PriceSource, Question, Want
from include.sources.catalogue import catalogue
from include.sources.client import SourceClient
from include.sources.gate import OpenGate
from tests.unit.sandbox.conftest import NOW, SEED

NOW_US = NOW * MICROSECONDS
SINCE_US = (NOW - NOW % MINUTE - 3600) * MICROSECONDS
SETTINGS = Settings(alpha_vantage_api_key="sandbox-realtime", alpha_vantage_plan="realtime")  # type: ignore[arg-type]
SOURCES: dict[Source, PriceSource] = {
    "yahoo": yahoo.build(SETTINGS),
    "alpha_vantage": alpha_vantage.build(SETTINGS),
    "coingecko": coingecko.build(SETTINGS),
    "binance": binance.build(SETTINGS),
}
SYMBOLS = {"yahoo": ("AAPL",), "alpha_vantage": ("AAPL",), "binance": ("BTC-USD",), "coingecko": ("BTC-USD", "ETH-USD")}
#: What became of the facts where no error was raised: they are all there; some are missing; they go to the
#: dead letters, by the source's own reading or by the producers' check; one comes twice; others came.
ALL, FEWER, REJECTED, INVALID, TWICE, OTHER = "all", "fewer", "rejected", "invalid", "twice", "other"
NOT_ASKED = ""
#: A fault of the connection: it has no body to read.
ON_THE_WIRE = {"mute", "slow", "reset", "gzip-bomb"}

#: (minute bars, current price) under each fault.
Rows = dict[str, tuple[str, str]]
ANY_SOURCE: Rows = {
    "stale": (ALL, ALL),
    "huge": ("BadPayload", "BadPayload"),
    "truncated": ("BadPayload", "BadPayload"),
    "html": ("BadPayload", "BadPayload"),
    "html-503": ("Transient", "Transient"),
    "empty-body": ("BadPayload", "BadPayload"),
    "bad-utf8": ("BadPayload", "BadPayload"),
    "duplicate-keys": ("BadPayload", "BadPayload"),
    "deep": ("BadPayload", "BadPayload"),
    "nan": (REJECTED, REJECTED),
    "infinity": (REJECTED, REJECTED),
    "overflow": (REJECTED, REJECTED),
    "booleans": (REJECTED, REJECTED),
    "swapped-types": (REJECTED, REJECTED),
    "zero-price": (INVALID, INVALID),
    "negative-price": (INVALID, INVALID),
}


def prices_only(rows: Rows) -> Rows:
    """Of a source that has no bars."""
    return {fault: (NOT_ASKED, price) for fault, (_, price) in rows.items()}


EXPECTED: dict[Source, Rows] = {
    "yahoo": ANY_SOURCE
    | {
        "429": ("RateLimited", "RateLimited"),
        "unauthorized-feature": ("AuthStale", "AuthStale"),
        "consent-redirect": ("AuthStale", "AuthStale"),
        "delisted": ("SymbolUnknown", "SymbolUnknown"),
        "range-422": ("EmptyRange", "EmptyRange"),
        "before-listing": ("EmptyRange", "EmptyRange"),
        "chart-null": ("BadPayload", "BadPayload"),
        "unequal-arrays": ("BadPayload", ALL),
        "infinite-adjclose": ("BadPayload", "BadPayload"),
        # Yahoo's own page for it.
        "html": ("Transient", "Transient"),
        # Not JSON at all.
        "nan": ("BadPayload", "BadPayload"),
        "infinity": ("BadPayload", "BadPayload"),
        "milliseconds": (REJECTED, REJECTED),
        "no-timestamps": (FEWER, FEWER),
        "null-first": (FEWER, ALL),
        "null-middle": (FEWER, ALL),
        "null-last": (FEWER, ALL),
        "missing-minutes": (FEWER, ALL),
        "null-volume": (OTHER, ALL),
        "half-adjusted": (OTHER, ALL),
        # It is ten o'clock.
        "half-day": (ALL, ALL),
        "events": (ALL, ALL),
        "future-1h": (INVALID, INVALID),
        "equal-times": (TWICE, ALL),
        # With the price of then.
        "late-10m": (OTHER, OTHER),
        "late-60m": (OTHER, OTHER),
        # About quotes and crumbs, which are not asked for.
        **dict.fromkeys(("unauthorized-crumb", "quote-omits", "quote-none"), (ALL, ALL)),
        **dict.fromkeys(("crumb-too-many", "crumb-html", "crumb-empty"), (ALL, ALL)),
    },
    "alpha_vantage": ANY_SOURCE
    | {
        # Its text names the day's limit too.
        "burst": ("RateLimited", "RateLimited"),
        "burst-pattern": ("RateLimited", "RateLimited"),
        "note": ("RateLimited", "RateLimited"),
        "daily": ("QuotaExhausted", "QuotaExhausted"),
        "premium": ("PlanForbidden", "PlanForbidden"),
        "premium-full": ("PlanForbidden", "PlanForbidden"),
        "sample-data": ("PlanForbidden", "PlanForbidden"),
        "bad-key": ("AuthStale", "AuthStale"),
        "invalid-call": ("SymbolUnknown", "SymbolUnknown"),
        "detail": ("SymbolUnknown", "SymbolUnknown"),
        "empty": ("BadPayload", "BadPayload"),
        "empty-quote": (ALL, "SymbolUnknown"),
        "null-numbers": (REJECTED, REJECTED),
        "delayed-root": (ALL, ALL),
        "old-day": (ALL, OTHER),
        "last-minute-missing": (FEWER, ALL),
        # One stamp twice is one key twice.
        "twice-0130": ("BadPayload", ALL),
        "equal-times": ("BadPayload", ALL),
        "future-1h": (INVALID, ALL),
        "late-10m": (FEWER, OTHER),
        "late-60m": (FEWER, OTHER),
    },
    "coingecko": prices_only(ANY_SOURCE)
    | {
        "429": (NOT_ASKED, "RateLimited"),
        "429-no-header": (NOT_ASKED, "RateLimited"),
        "401-10002": (NOT_ASKED, "AuthStale"),
        "401-10005": (NOT_ASKED, "PlanForbidden"),
        "401-10010": (NOT_ASKED, "AuthStale"),
        "401-10011": (NOT_ASKED, "AuthStale"),
        "401-10012": (NOT_ASKED, "PlanForbidden"),
        "403-1020": (NOT_ASKED, "Banned"),
        # Asked one by one then, and none of them is known.
        "not-found": (NOT_ASKED, "SymbolUnknown"),
        # Not JSON at all.
        "nan": (NOT_ASKED, "BadPayload"),
        "infinity": (NOT_ASKED, "BadPayload"),
        "unknown-id": (NOT_ASKED, FEWER),
        "empty-price": (NOT_ASKED, FEWER),
        "null-price": (NOT_ASKED, FEWER),
        "null-24h": (NOT_ASKED, ALL),
        "exponents": (NOT_ASKED, ALL),
        # The markets' page is not asked for.
        "short-page": (NOT_ASKED, ALL),
        "integers": (NOT_ASKED, OTHER),
        "old-update": (NOT_ASKED, OTHER),
        "equal-times": (NOT_ASKED, OTHER),
        "late-10m": (NOT_ASKED, OTHER),
        "late-60m": (NOT_ASKED, OTHER),
        "milliseconds": (NOT_ASKED, REJECTED),
        "future-1h": (NOT_ASKED, INVALID),
    },
    "binance": ANY_SOURCE
    | {
        "429": ("RateLimited", "RateLimited"),
        "418": ("Banned", "Banned"),
        "418-text": ("Banned", "Banned"),
        "403": ("Banned", "Banned"),
        "451": ("GeoBlocked", "GeoBlocked"),
        "invalid-symbol": ("SymbolUnknown", "SymbolUnknown"),
        # Nothing that we ask for: a fault of ours.
        "invalid-interval": ("SourceError", "SourceError"),
        "500": ("Transient", "Transient"),
        "503": ("Transient", "Transient"),
        "timeout": ("Transient", "Transient"),
        "off-grid": (REJECTED, ALL),
        "seconds": (REJECTED, ALL),
        # Known by their size, as in the bulk files.
        "microseconds": (ALL, ALL),
        "missing-hour": (FEWER, ALL),
        "late-10m": (FEWER, OTHER),
        "late-60m": (FEWER, OTHER),
        "future-1h": (INVALID, ALL),
        "equal-times": (TWICE, ALL),
        # Said by exchangeInfo, which is not asked for.
        "break": (ALL, ALL),
        "halt": (ALL, ALL),
    },
}


class InProcess:
    """A Transport to the sandbox's own app."""

    def __init__(self, server: TestClient) -> None:
        self._server = server

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        answer = self._server.get(url, params=dict(params), headers=dict(headers), follow_redirects=False)
        return Answer(answer.status_code, dict(answer.headers), answer.content)

    def close(self) -> None:
        """Nothing to close."""


def fetched(market: SimulatedMarket, source: Source, want: Want, fault: str | None) -> FetchResult:
    """The first answer to the source's own question, under a fault."""
    server = TestClient(create_app(market, catalogue(), SEED, lambda: NOW))
    if fault is not None:
        body = {"source": source, "name": fault}
        assert server.post("/sandbox/faults", json=body).status_code == 201
    instruments = [catalogue().get(symbol) for symbol in SYMBOLS[source]]
    since = {instrument.symbol: SINCE_US for instrument in instruments}
    question: Question = SOURCES[source].questions(want, instruments, since, NOW_US)[0]
    once = Retrying(stop=stop_after_attempt(1), reraise=True)
    client = SourceClient(SOURCES[source], f"/{source}", InProcess(server), OpenGate(), once, lambda: NOW_US)
    result = client.fetch(question)
    return replace(result, more=None)


@cache
def unharmed(market: SimulatedMarket, source: Source, want: Want) -> FetchResult:
    """What every fault is compared with."""
    good = fetched(market, source, want, None)
    assert good.events
    assert not good.rejected
    return good


def outcome(market: SimulatedMarket, source: Source, want: Want, fault: str) -> str:
    """The error's name; else what became of the facts, as compared with the good answer."""
    good = unharmed(market, source, want)
    try:
        found = fetched(market, source, want, fault)
    except SourceError as error:
        return type(error).__name__
    if found.rejected:
        return REJECTED
    # What the producers refuse before they publish.
    if any(reason_invalid(event, NOW_US) for event in found.events):
        return INVALID
    ids = [event.event_id for event in found.events]
    if len(set(ids)) < len(ids):
        return TWICE
    if found.events == good.events:
        return ALL
    return FEWER if set(ids) < {event.event_id for event in good.events} else OTHER


@pytest.mark.parametrize("source", EXPECTED)
def test_every_fault_has_its_row(source: Source) -> None:
    known = {kind.name for kind in FAULTS[source] if kind.on == "call"} - ON_THE_WIRE
    assert set(EXPECTED[source]) == known


@pytest.mark.parametrize(
    ("source", "fault", "want", "expected"),
    [
        pytest.param(source, fault, want, expected, id=f"{source}-{fault}-{want.name}")
        for source, rows in EXPECTED.items()
        for fault, row in rows.items()
        for want, expected in zip((MINUTE_BARS, QUOTES), row, strict=True)
        if expected != NOT_ASKED
    ],
)
def test_what_a_fault_comes_to(
    simulated: SimulatedMarket, source: Source, fault: str, want: Want, expected: str
) -> None:
    assert outcome(simulated, source, want, fault) == expected
