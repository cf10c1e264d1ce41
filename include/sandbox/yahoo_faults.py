"""What Yahoo's answers can be instead of good ones; `reference` shapes, our words only where it has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from include.sandbox.faults import Fault, FaultKind, changed, whole
from include.sandbox.transport_faults import CLOCK_FAULTS, HTML, TRANSPORT_FAULTS, Place, value_faults

TEXT = "text/plain;charset=utf-8"
CHART, QUOTE, CRUMB = "/v8/finance/chart", "/v7/finance/quote", "getcrumb"
CONSENT = "https://consent.yahoo.com/v2/collectConsent?sessionId=3_cc-session_sandbox"
PRICES = ("open", "high", "low", "close")
HOUR, DAY = 3600, 86_400


def _refused(root: str, code: str, description: str) -> dict[str, Any]:
    return {root: {"result": None, "error": {"code": code, "description": description}}}


def _charts(document: Any) -> list[Any]:
    return document.get("chart", {}).get("result") or []


def _quotes(document: Any) -> list[Any]:
    return document.get("quoteResponse", {}).get("result") or []


def _columns(chart: Any) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = chart["indicators"]["quote"][0]
    return columns


def _prices(document: Any) -> Iterator[Place]:
    for chart in _charts(document):
        yield from ((_columns(chart)[name], row) for name in PRICES for row in range(len(chart.get("timestamp", ()))))
        yield chart["meta"], "regularMarketPrice"
    yield from ((quote, "regularMarketPrice") for quote in _quotes(document))


def _null_row(place: float) -> Any:
    """`place` from 0 (the first row) to 1 (the last closed one: the live row comes after it)."""

    def change(document: Any, fault: Fault) -> None:
        for chart in _charts(document):
            rows = len(chart.get("timestamp", ()))
            for column in _columns(chart).values():
                if rows:
                    column[int(place * max(0, rows - 3))] = None

    return change


def _null_volumes(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        if "timestamp" in chart:
            _columns(chart)["volume"] = [None] * len(chart["timestamp"])


def _no_timestamps(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        chart.pop("timestamp", None)
        chart["indicators"] = {"quote": [{}]}
        chart["meta"]["currency"] = None


def _unequal(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        if "timestamp" in chart:
            _columns(chart)["close"].pop()


def _without_rows(chart: Any, dropped: Any) -> None:
    """Leaves out the rows whose timestamp `dropped` is true of."""
    kept = [row for row, stamp in enumerate(chart.get("timestamp", ())) if not dropped(stamp)]
    if "timestamp" in chart:
        chart["timestamp"] = [chart["timestamp"][row] for row in kept]
        for name, column in _columns(chart).items():
            _columns(chart)[name] = [column[row] for row in kept]


def _missing_minutes(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        _without_rows(chart, lambda stamp: stamp // 60 % 7 in (3, 4))


def _half_day(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        regular = chart["meta"]["currentTradingPeriod"]["regular"]
        regular["end"] = noon = regular["start"] + 12 * HOUR
        _without_rows(chart, lambda stamp, noon=noon: stamp >= noon)


def _half_adjusted(document: Any, fault: Fault) -> None:
    """The older half of the rows is divided by 4, as if a split were in them already."""
    for chart in _charts(document):
        for name in PRICES:
            column = _columns(chart).get(name, [])
            column[: len(column) // 2] = [price and price / 4 for price in column[: len(column) // 2]]


def _infinite_adjclose(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        chart["indicators"]["adjclose"] = [{"adjclose": [float("inf")] * len(chart.get("timestamp", ()))}]


def _events(document: Any, fault: Fault) -> None:
    for chart in _charts(document):
        day = chart["meta"]["regularMarketTime"] // DAY * DAY
        split = {"date": day, "numerator": 4, "denominator": 1, "splitRatio": "4:1"}
        chart["events"] = {
            "splits": {str(day): split},
            "dividends": {str(day): {"amount": 0.25, "date": day}},
        }


def _omitted(document: Any, fault: Fault) -> None:
    """The fault's symbol, else the first one asked for."""
    found = _quotes(document)
    omitted = [fault.symbol_id] if fault.symbol_id else [quote["symbol"] for quote in found[:1]]
    found[:] = [quote for quote in found if quote["symbol"] not in omitted]


def _no_type(document: Any, fault: Fault) -> None:
    for quote in _quotes(document):
        for key in [key for key in quote if key.startswith("regularMarket")]:
            del quote[key]
        quote["quoteType"] = "NONE"


def _times(change: Any) -> Any:
    """Changes the last three times of a chart, and those of the current price."""

    def apply(document: Any, fault: Fault) -> None:
        for chart in _charts(document):
            stamps = chart.get("timestamp", [])
            stamps[-3:] = [change(stamp) for stamp in stamps[-3:]]
            chart["meta"]["regularMarketTime"] = change(chart["meta"]["regularMarketTime"])
        for quote in _quotes(document):
            quote["regularMarketTime"] = change(quote["regularMarketTime"])

    return apply


def _equal_times(document: Any, fault: Fault) -> None:
    """The last closed rows come twice, the second time 1 % dearer."""
    for chart in _charts(document):
        stamps = chart.get("timestamp", [])
        again = range(max(0, len(stamps) - 3), len(stamps))
        for name, column in _columns(chart).items():
            factor = 1.01 if name in PRICES else 1
            column.extend([value and value * factor for value in (column[row] for row in again)])
        stamps.extend([stamps[row] for row in again])


_DELISTED = _refused("chart", "Not Found", "No data found, symbol may be delisted")
_RANGE = _refused(
    "chart",
    "Unprocessable Entity",
    "1m data not available for startTime=0 and endTime=1. The requested range must be within the last 30 days.",
)
_EARLY = _refused("chart", "Bad Request", "Data doesn't exist for startDate = 0, endDate = 1")
_CRUMB = _refused("finance", "Unauthorized", "Invalid Crumb")
_FEATURE = _refused("finance", "Unauthorized", "User is unable to access this feature")

YAHOO_FAULTS: tuple[FaultKind, ...] = (
    whole("429", "429, plain text, without an end", 429, "Edge: Too Many Requests", media=TEXT),
    whole("unauthorized-crumb", "401 Invalid Crumb on quotes", 401, _CRUMB, path=QUOTE),
    whole("unauthorized-feature", "401 User is unable to access this feature", 401, _FEATURE),
    whole(
        "crumb-too-many", "200 with Too Many Requests for a crumb", 200, "Too Many Requests\r\n", media=TEXT, path=CRUMB
    ),
    whole("crumb-html", "200 with a page for a crumb", 200, "<html></html>", media=HTML, path=CRUMB),
    whole("crumb-empty", "200 with nothing for a crumb", 200, "", media=TEXT, path=CRUMB),
    whole("consent-redirect", "302 to the European consent page", 302, "", {"location": CONSENT}, media=HTML),
    whole("delisted", "404 No data found, symbol may be delisted", 404, _DELISTED, path=CHART),
    whole("range-422", "422 the range lies too far back", 422, _RANGE, path=CHART),
    whole("before-listing", "400 Data doesn't exist for the range", 400, _EARLY, path=CHART),
    whole("chart-null", "200 with chart: null", 200, {"chart": None}, path=CHART),
    changed("no-timestamps", "200 without a timestamp: no trading in the range", _no_timestamps, path=CHART),
    changed("null-first", "the first row is null", _null_row(0), path=CHART),
    changed("null-middle", "a row in the middle is null", _null_row(0.5), path=CHART),
    changed("null-last", "the last closed row is null", _null_row(1), path=CHART),
    changed("null-volume", "every volume is null", _null_volumes, path=CHART),
    changed("unequal-arrays", "one close fewer than times", _unequal, path=CHART),
    changed("missing-minutes", "two minutes of every seven are missing", _missing_minutes, path=CHART),
    changed("half-day", "the session ends at noon", _half_day, path=CHART),
    changed(
        "half-adjusted",
        "the older half of the prices is split-adjusted 4:1, the newer is not",
        _half_adjusted,
        path=CHART,
    ),
    changed("infinite-adjclose", "adjclose is Infinity", _infinite_adjclose, path=CHART),
    changed("events", "a split and a dividend today", _events, path=CHART),
    changed("quote-omits", "quotes leave out one symbol that was asked for", _omitted, path=QUOTE),
    changed("quote-none", "quotes have quoteType NONE and no price", _no_type, path=QUOTE),
    changed("future-1h", "the newest times are an hour ahead", _times(lambda stamp: stamp + HOUR)),
    changed("milliseconds", "the newest times are in milliseconds, not seconds", _times(lambda stamp: stamp * 1000)),
    changed("equal-times", "the newest rows come twice, with different prices", _equal_times, path=CHART),
    *value_faults(_prices),
    *CLOCK_FAULTS,
    *TRANSPORT_FAULTS,
)
