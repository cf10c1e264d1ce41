"""The bodies of Alpha Vantage's answers: all figures are text with four decimals, all times New York's.

`shown_at` is the moment of the market that is shown, epoch seconds: now, 15 minutes ago, or the last midnight.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal

from include.market.calendar import NEW_YORK
from include.sandbox.bars import DAY, Bars, MinuteBar
from include.sandbox.market import LOOK_BACK, Listing, Sandbox

STAMP = "%Y-%m-%d %H:%M:%S"
ZONE = "US/Eastern"
COMPACT_ROWS = 100
#: As many rows as 21 sessions of 390 minutes have: what `outputsize=full` gives of minutes.
FULL_ROWS = 8190


def global_quote(sandbox: Sandbox, listing: Listing, shown_at: float) -> dict[str, str] | None:
    """The newest day with a trade. None if the symbol never traded."""
    trade = sandbox.last_trade(listing.symbol, _before(shown_at))
    if trade is None:
        return None
    start = day_start(trade.minute)
    day = _day(sandbox, listing, start, shown_at)
    bar = next(iter(day))
    before = _close_before(sandbox, listing, start)
    change = None if before is None else bar.close - before
    return {
        "01. symbol": listing.id,
        "02. open": _text(bar.open),
        "03. high": _text(bar.high),
        "04. low": _text(bar.low),
        "05. price": _text(bar.close),
        "06. volume": _shares(bar),
        "07. latest trading day": _moment(start).date().isoformat(),
        "08. previous close": "" if before is None else _text(before),
        "09. change": "" if change is None else _text(change),
        "10. change percent": "" if change is None or not before else f"{change / before * 100:.4f}%",
    }


def intraday(
    sandbox: Sandbox, listing: Listing, interval: str, seconds: int, most: int, shown_at: float
) -> dict[str, object]:
    """The newest rows, newest first; the first may be the running one."""
    bars = _newest(sandbox, listing, seconds, most, shown_at)
    rows: dict[str, dict[str, str]] = {}
    for bar in reversed(list(bars)):
        # The hour that comes twice in November has one row a stamp, as an object has one value a key.
        rows.setdefault(_moment(bar.start).strftime(STAMP), _row(bar))
    meta = {
        "1. Information": f"Intraday ({interval}) open, high, low, close prices and volume",
        "2. Symbol": listing.id,
        "3. Last Refreshed": next(iter(rows), ""),
        "4. Interval": interval,
        "5. Output Size": _size(most),
        "6. Time Zone": ZONE,
    }
    return {"Meta Data": meta, f"Time Series ({interval})": rows}


def daily(sandbox: Sandbox, listing: Listing, most: int, shown_at: float) -> dict[str, object]:
    """Days with a trade, newest first; the first may be the running one."""
    rows: dict[str, dict[str, str]] = {}
    start = day_start(_before(shown_at))
    while start + DAY > sandbox.history_start() and len(rows) < most:
        day = _day(sandbox, listing, start, shown_at)
        if len(day):
            rows[_moment(start).date().isoformat()] = _row(next(iter(day)))
        start = day_start(start - 1)
    meta = {
        "1. Information": "Daily Prices (open, high, low, close) and Volumes",
        "2. Symbol": listing.id,
        "3. Last Refreshed": next(iter(rows), ""),
        "4. Output Size": _size(most),
        "5. Time Zone": ZONE,
    }
    return {"Meta Data": meta, "Time Series (Daily)": rows}


def day_start(second: float) -> int:
    """The midnight in New York at or before this moment, epoch seconds."""
    return _midnight(_moment(second))


def _day(sandbox: Sandbox, listing: Listing, start: int, shown_at: float) -> Bars:
    """One bar of the day that begins at `start`, as far as it is shown; none without a trade."""
    following = _moment(start) + timedelta(days=1)
    minutes = sandbox.traded(listing.symbol, start, min(_midnight(following), _ceiling(shown_at)), shown_at)
    # Counted from the day's beginning all its minutes lie in one window, the 25-hour day's too.
    return minutes.shifted(-start).resampled(2 * DAY)


def _newest(sandbox: Sandbox, listing: Listing, seconds: int, most: int, shown_at: float) -> Bars:
    """Reads no more than it must: only where minutes are missing is it more than the rows asked for."""
    end = _ceiling(shown_at)
    first = sandbox.history_start()
    width = (most + 1) * seconds
    while True:
        start = max(first, (end - width) // seconds * seconds)
        bars = sandbox.traded(listing.symbol, start, end, shown_at).resampled(seconds)
        if len(bars) >= most or start == first:
            return bars.cut(slice(max(0, len(bars) - most), None))
        width *= 4


def _close_before(sandbox: Sandbox, listing: Listing, start: int) -> Decimal | None:
    """The last price before a day; None if there is none."""
    for span in LOOK_BACK:
        bars = sandbox.traded(listing.symbol, start - span, start, start)
        if len(bars):
            return bars.price(int(bars.close[-1]))
    return None


def _row(bar: MinuteBar) -> dict[str, str]:
    return {
        "1. open": _text(bar.open),
        "2. high": _text(bar.high),
        "3. low": _text(bar.low),
        "4. close": _text(bar.close),
        "5. volume": _shares(bar),
    }


def _size(most: int) -> str:
    return "Compact" if most <= COMPACT_ROWS else "Full size"


def _moment(second: float) -> datetime:
    return datetime.fromtimestamp(second, NEW_YORK)


def _midnight(moment: datetime) -> int:
    return int(datetime.combine(moment.date(), time(), NEW_YORK).timestamp())


def _before(shown_at: float) -> float:
    """The last whole second before a moment: a day that is over ends before its midnight."""
    return _ceiling(shown_at) - 1


def _ceiling(shown_at: float) -> int:
    return -int(-shown_at // 1)


def _text(price: Decimal) -> str:
    return f"{price:.4f}"


def _shares(bar: MinuteBar) -> str:
    return f"{bar.volume:.0f}"
