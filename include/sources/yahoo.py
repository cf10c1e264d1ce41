"""Yahoo's chart, fetched through yfinance: one-minute bars of stocks, and the price in the same answer.

The request goes through yfinance's data layer (its browser-like session, its one place for requests);
the body is read here and not by `Ticker.history`, because that one loses what an exact bar needs: it
makes a missing volume 0, merges the live last row into the bar before it, drops rows without a word,
and does not hand out the body, which the dead letters keep. Two requests fall away with it: the
time zone of each ticker (kept in a file under the home folder), and the answers of past ranges that
a long-lived process would get from memory for ever.
"""

from __future__ import annotations

from collections.abc import Sequence

from tenacity import Retrying

from include.market.event import MICROSECONDS
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import MINUTE_US, Clock, Declaration, FetchResult, source_id
from include.sources.retry import retrying
from include.sources.yahoo_answers import parse_chart, refusal
from include.sources.yahoo_session import ChartData, ChartSession

DECLARATION = Declaration(
    name="yahoo", asset_classes=("stock",), kinds=("bar", "quote"), bar_seconds=60, quotes_with_bars=True
)
#: One request may span 8 days of one-minute bars; a range that straddles the limit gets nothing.
MAX_SPAN_US = 7 * 24 * 60 * MINUTE_US


class YahooSource:
    """Asks `base_url`, and no other host; the clock and patience are passed in."""

    def __init__(self, base_url: str, clock: Clock, retry: Retrying) -> None:
        self._base_url = base_url.rstrip("/")
        self._retry = retry
        self._data = ChartData(session=ChartSession(lambda status, after, body: refusal(status, after, body, clock())))

    @property
    def declaration(self) -> Declaration:
        return DECLARATION

    def closed_bars(self, instrument: Instrument, since_us: int, now_us: int) -> FetchResult:
        """See PriceSource; the current price comes with the bars."""
        since_us = max(since_us, now_us - MAX_SPAN_US)
        params = {
            "period1": since_us // MICROSECONDS,
            # Yahoo refuses an empty range; what lies ahead has no rows.
            "period2": now_us // MICROSECONDS + 1,
            "interval": "1m",
            "includePrePost": "false",
        }
        url = f"{self._base_url}/v8/finance/chart/{source_id(instrument, 'yahoo')}"
        body = self._retry(self._data.chart, url, params)
        return parse_chart(body, instrument, since_us, now_us)

    def quotes(self, instruments: Sequence[Instrument], now_us: int) -> FetchResult:
        """See PriceSource. One request an instrument: the many-symbol endpoint wants a login cookie."""
        result = FetchResult()
        for instrument in instruments:
            answer = self.closed_bars(instrument, now_us - MINUTE_US, now_us)
            result.events += [event for event in answer.events if event.kind == "quote"]
        return result

    def close(self) -> None:
        """Nothing to close: the session belongs to the process."""


def build(settings: Settings, clock: Clock) -> YahooSource:
    """The source as the settings say."""
    return YahooSource(str(settings.yahoo_base_url), clock, retrying())
