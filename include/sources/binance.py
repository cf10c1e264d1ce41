"""Binance spot market data: one-minute klines and current prices, keyless."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import httpx2
import msgspec
from tenacity import Retrying

from include.errors import Transient
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import MINUTE_US, Clock, Declaration, FetchResult, source_id
from include.sources.binance_answers import parse_klines, parse_tickers, quote_asset, refusal
from include.sources.http import server_time_us
from include.sources.retry import retrying

DECLARATION = Declaration(
    name="binance", asset_classes=("crypto",), kinds=("bar", "quote"), bar_seconds=60, quotes_with_bars=False
)
PAGE_ROWS = 1000
#: Enough for almost three days; what is older than that comes with the next batches.
MAX_PAGES = 4
#: `ticker/24hr` weighs 2 for up to 20 pairs, 40 above.
PAIRS_PER_TICKER_CALL = 20
TIMEOUT = httpx2.Timeout(8.0, connect=4.0)


class BinanceSource:
    """Asks `base_url`; the client, clock and patience are passed in."""

    def __init__(self, base_url: str, client: httpx2.Client, clock: Clock, retry: Retrying) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = client
        self._clock = clock
        self._retry = retry

    @property
    def declaration(self) -> Declaration:
        return DECLARATION

    def closed_bars(self, instrument: Instrument, since_us: int, now_us: int) -> FetchResult:
        """See PriceSource. Pages forward: with a start time Binance gives the oldest rows first."""
        pair = source_id(instrument, "binance")
        quote_asset(pair)
        result = FetchResult()
        start_us = since_us
        for _ in range(MAX_PAGES):
            params = {
                "symbol": pair,
                "interval": "1m",
                "startTime": str(start_us // 1_000),
                "limit": str(PAGE_ROWS),
            }
            body, server_now_us = self._get("/api/v3/klines", params)
            # A host clock that runs ahead would take the running minute for a closed one.
            page = parse_klines(body, instrument, min(now_us, server_now_us), now_us)
            result.events += page.events
            result.rejected += page.rejected
            result.dropped += page.dropped
            rows = len(page.events) + len(page.rejected) + page.dropped.total()
            if rows < PAGE_ROWS or not page.events or page.dropped["still open"]:
                break
            start_us = page.events[-1].event_time + MINUTE_US
        return result

    def quotes(self, instruments: Sequence[Instrument], now_us: int) -> FetchResult:
        """See PriceSource. `ticker/24hr`, because `ticker/price` has no time and this has one, the
        source's own, at the same weight."""
        by_id = {source_id(instrument, "binance"): instrument for instrument in instruments}
        pairs = list(by_id)
        result = FetchResult()
        for first in range(0, len(pairs), PAIRS_PER_TICKER_CALL):
            names = msgspec.json.encode(pairs[first : first + PAIRS_PER_TICKER_CALL]).decode()
            body, _ = self._get("/api/v3/ticker/24hr", {"symbols": names})
            part = parse_tickers(body, by_id, now_us)
            result.events += part.events
            result.rejected += part.rejected
            result.dropped += part.dropped
        return result

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, params: Mapping[str, str]) -> tuple[bytes, int]:
        """A good answer's body and the server's clock in microseconds."""
        return self._retry(self._get_once, path, params)

    def _get_once(self, path: str, params: Mapping[str, str]) -> tuple[bytes, int]:
        try:
            answer = self._client.get(self._base_url + path, params=dict(params), timeout=TIMEOUT)
        except httpx2.RequestError as error:
            raise Transient(f"binance did not answer: {type(error).__name__} {error}") from error
        now_us = self._clock()
        refused = refusal(answer.status_code, answer.headers.get("retry-after"), answer.content, now_us)
        if refused is not None:
            raise refused
        return answer.content, server_time_us(answer.headers.get("date"), now_us)


def build(settings: Settings, clock: Clock) -> BinanceSource:
    """The source as the settings say."""
    return BinanceSource(str(settings.binance_base_url), httpx2.Client(), clock, retrying())
