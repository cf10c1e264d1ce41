"""What Alpha Vantage's answers can be instead of good ones: most with status 200."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from include.sandbox.dialect import Handler, json_response
from include.sandbox.faults import Fault, FaultKind, changed, compact, whole
from include.sandbox.transport_faults import CLOCK_FAULTS, TRANSPORT_FAULTS, Place, value_faults

QUOTE, INTRADAY = "GLOBAL_QUOTE", "TIME_SERIES_INTRADAY"
PREMIUM = "https://www.alphavantage.co/premium/"
ROOT, DELAYED = "Global Quote", "Global Quote - DATA DELAYED BY 15 MINUTES"
PRICES = ("open", "high", "low", "close", "price")
STAMP = "%Y-%m-%d %H:%M:%S"
_BURST = (
    "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly "
    f"(1 request per second). You may subscribe to any of the premium plans at {PREMIUM} to lift the free key "
    "rate limit (25 requests per day)."
)
_PATTERN = f"Burst pattern detected. Please spread out your API requests, or subscribe to a premium plan at {PREMIUM}."
_PREMIUM = f"Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe at {PREMIUM}."
_FULL = f"The outputsize=full parameter value is a premium feature for this endpoint. You may subscribe at {PREMIUM}."
_NOTE = (
    "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls per day."
)
_INVALID = (
    "Invalid API call. Please retry or visit the documentation "
    "(https://www.alphavantage.co/documentation/) for GLOBAL_QUOTE."
)
_BAD_KEY = (
    "the parameter apikey is invalid or missing. Please claim your free API key on (https://www.alphavantage.co/)."
)
_SAMPLE = "This is a premium endpoint. ***THE SAMPLE DATA SCHEMA BELOW IS ARTIFICIAL AND FOR ILLUSTRATION ONLY.***"


async def _daily(request: Request, respond: Handler, fault: Fault) -> Response:
    """Says the caller's key aloud, as the real one does."""
    key = request.query_params.get("apikey", "demo")
    said = (
        f"We have detected your API key as {key} and our standard API rate limit is 25 requests per day. "
        f"Please subscribe to any of the premium plans at {PREMIUM} to instantly remove all daily rate limits."
    )
    return json_response({"Information": said})


def _root(document: Any) -> dict[str, Any]:
    """The figures of a quote; empty where it is another answer."""
    found: dict[str, Any] = next((value for key, value in document.items() if key.startswith(ROOT)), {})
    return found


def _series(document: Any) -> dict[str, dict[str, str]]:
    """The rows of a series by their stamp, newest first; empty where it is another answer."""
    found: dict[str, dict[str, str]] = next((v for key, v in document.items() if key.startswith("Time Series")), {})
    return found


def _prices(document: Any) -> Iterator[Place]:
    for row in (_root(document), *_series(document).values()):
        yield from ((row, key) for key in row if key.partition(". ")[2] in PRICES)


def _null_numbers(document: Any, fault: Fault) -> None:
    """`None`, `-` and nothing, in turn."""
    for place, (container, key) in enumerate(list(_prices(document))):
        container[key] = ("None", "-", "")[place % 3]


def _delayed_root(document: Any, fault: Fault) -> Any:
    return {DELAYED: _root(document)}


def _old_day(document: Any, fault: Fault) -> None:
    row = _root(document)
    if not row:
        return
    day = datetime.fromisoformat(row["07. latest trading day"]) - timedelta(days=3)
    row["07. latest trading day"] = day.date().isoformat()


def _moved(document: Any, hours: int, count: int) -> None:
    """The newest `count` rows under other stamps."""
    series = _series(document)
    rows = list(series.items())
    series.clear()
    for place, (stamp, row) in enumerate(rows):
        moved = datetime.strptime(stamp, STAMP) + timedelta(hours=hours * (place < count))
        series[moved.strftime(STAMP)] = row


def _future(document: Any, fault: Fault) -> None:
    _moved(document, 1, 3)


def _without_newest(document: Any, fault: Fault) -> None:
    """Without the running minute, and without the last closed one."""
    series = _series(document)
    for newest in list(series)[:2]:
        del series[newest]


def _with_rows(document: Any, rows: list[tuple[str, dict[str, str]]]) -> str:
    """The same series with these rows: a text, because stamps may come twice."""
    name = next(key for key in document if key.startswith("Time Series"))
    rest = compact({key: value for key, value in document.items() if key != name})
    series = ",".join(f'"{stamp}":{compact(row)}' for stamp, row in rows)
    return f'{rest[:-1]},"{name}":{{{series}}}}}'


def _twice(document: Any, fault: Fault) -> str | None:
    """01:30 on the day the clocks go back, with both of its prices."""
    rows = list(_series(document).values())[:2]
    return _with_rows(document, [("2026-11-01 01:30:00", row) for row in rows]) if rows else None


def _equal_times(document: Any, fault: Fault) -> str | None:
    """The newest row comes twice, the second time dearer."""
    rows = list(_series(document).items())
    if not rows:
        return None
    stamp, row = rows[0]
    dearer = {key: value if "volume" in key else f"{float(value) * 1.01:.4f}" for key, value in row.items()}
    return _with_rows(document, [(stamp, dearer), *rows])


ALPHA_VANTAGE_FAULTS: tuple[FaultKind, ...] = (
    whole(
        "burst", "Information: more than one request a second; names the daily limit too", 200, {"Information": _BURST}
    ),
    whole("burst-pattern", "Information: burst pattern detected", 200, {"Information": _PATTERN}),
    FaultKind("daily", "Information: 25 requests a day; echoes the key", _daily),
    whole("premium", "Information: a premium endpoint", 200, {"Information": _PREMIUM}),
    whole("premium-full", "Information: outputsize=full is premium", 200, {"Information": _FULL}),
    whole("note", "Note: 5 calls a minute, the older wording", 200, {"Note": _NOTE}),
    whole("invalid-call", "Error Message: invalid API call", 200, {"Error Message": _INVALID}),
    whole("bad-key", "Error Message: the apikey is invalid or missing", 200, {"Error Message": _BAD_KEY}),
    whole("detail", "a detail where the data should be", 200, {"detail": "Invalid API call."}),
    changed(
        "sample-data", "the data, and a message that it is artificial", lambda body, _: {"message": _SAMPLE, **body}
    ),
    whole("empty", "200 with {}", 200, {}),
    whole("empty-quote", "an empty Global Quote", 200, {ROOT: {}}, path=QUOTE),
    changed("null-numbers", "None, - and blanks for figures", _null_numbers),
    changed("delayed-root", "the quote under its delayed name", _delayed_root, path=QUOTE),
    changed("old-day", "the quote of three days earlier", _old_day, path=QUOTE),
    changed("last-minute-missing", "the last closed minute is missing", _without_newest, path=INTRADAY),
    changed("twice-0130", "01:30 twice, as on the day the clocks go back", _twice, path=INTRADAY),
    changed("future-1h", "the newest minutes are an hour ahead", _future, path=INTRADAY),
    changed("equal-times", "the newest minute twice, with different prices", _equal_times, path=INTRADAY),
    *value_faults(_prices),
    *CLOCK_FAULTS,
    *TRANSPORT_FAULTS,
)
