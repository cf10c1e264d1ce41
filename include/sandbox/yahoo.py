"""Yahoo's dialect: which question is asked, and which of Yahoo's answers it gets."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from include.sandbox.bars import DAY, MINUTE
from include.sandbox.dialect import Dialect, json_response
from include.sandbox.market import Listing, Sandbox
from include.sandbox.yahoo_answers import Span, chart_body, quote_body
from include.sandbox.yahoo_stream import yahoo_streams

#: One-minute bars: this far back, and this much in one request.
DEPTH_DAYS = 30
SPAN_DAYS = 8
INTERVALS = ("1m", "1d")
RANGE_DAYS = {"1mo": 30, "3mo": 91, "6mo": 182, "1y": 365, "2y": 730, "5y": 1826, "10y": 3652, "max": 36_500}
CRUMB = "sandbox"
HEADERS = {"cache-control": "public, max-age=10, stale-while-revalidate=20"}


class _Refused(Exception):
    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = {"code": code, "description": description}


def dialect(sandbox: Sandbox) -> Dialect:
    """Chart, quote, crumb and stream. Stocks and coins, as Yahoo has both."""
    listings = sandbox.listings("yahoo")

    async def chart(request: Request) -> Response:
        now = sandbox.clock()
        try:
            listing = listings.get(request.path_params["id"].upper())
            if listing is None:
                raise _Refused(404, "Not Found", "No data found, symbol may be delisted")
            span = _span(request, sandbox, now)
            body = chart_body(sandbox, listing, span, now)
        except _Refused as refused:
            return json_response({"chart": {"result": None, "error": refused.error}}, refused.status, HEADERS)
        return json_response({"chart": {"result": [body], "error": None}}, headers=HEADERS)

    async def quote(request: Request) -> Response:
        if request.query_params.get("crumb") != CRUMB:
            error = {"code": "Unauthorized", "description": "Invalid Crumb"}
            return json_response({"finance": {"result": None, "error": error}}, 401)
        now = sandbox.clock()
        asked = request.query_params.get("symbols", "").upper().split(",")
        known: list[Listing] = [listings[id_] for id_ in asked if id_ in listings]
        result = [quote_body(sandbox, listing, now) for listing in known]
        return json_response({"quoteResponse": {"result": result, "error": None}}, headers=HEADERS)

    async def crumb(request: Request) -> Response:
        answer = PlainTextResponse(CRUMB)
        answer.set_cookie("A3", "sandbox", max_age=DAY * 365, httponly=True)
        return answer

    return Dialect(
        "yahoo",
        {
            "/v8/finance/chart/{id}": chart,
            "/v7/finance/quote": quote,
            "/v1/test/getcrumb": crumb,
        },
        yahoo_streams(sandbox, listings),
    )


def _span(request: Request, sandbox: Sandbox, now: float) -> Span:
    """What is asked for, within Yahoo's limits. Raises _Refused with Yahoo's own words."""
    params = request.query_params
    interval = params.get("interval", "1d")
    if interval not in INTERVALS:
        valid = ", ".join(INTERVALS)
        raise _unprocessable(f"Invalid input - interval={interval} is not supported. Valid intervals: [{valid}]")
    range_ = "" if "period1" in params or "period2" in params else params.get("range", "1d")
    if range_:
        start, end = _range_start(range_, now), int(now) + 1
    else:
        start, end = _seconds(request, "period1", 0), _seconds(request, "period2", int(now) + 1)
    if start >= end:
        raise _bad(f"Invalid input - start date cannot be after end date. startDate = {start}, endDate = {end}")
    if interval == "1m":
        _check_depth(start, end, now)
    elif end <= sandbox.history_start():
        raise _bad(f"Data doesn't exist for startDate = {start}, endDate = {end}")
    prepost = params.get("includePrePost", "false").lower() in ("true", "1")
    return Span(start, end, MINUTE if interval == "1m" else DAY, range_, prepost)


def _check_depth(start: int, end: int, now: float) -> None:
    """A range that straddles the limit is refused as a whole."""
    stated = f"1m data not available for startTime={start} and endTime={end}."
    if end - start > SPAN_DAYS * DAY + MINUTE:
        raise _unprocessable(
            f"{stated} Only {SPAN_DAYS} days worth of 1m granularity data are allowed to be fetched per request."
        )
    if start < now - DEPTH_DAYS * DAY:
        raise _unprocessable(f"{stated} The requested range must be within the last {DEPTH_DAYS} days.")


def _range_start(range_: str, now: float) -> int:
    """`nd` are the last n days, today's included."""
    midnight = int(now) - int(now) % DAY
    if range_ == "ytd":
        return midnight - (datetime.fromtimestamp(now, UTC).timetuple().tm_yday - 1) * DAY
    days = RANGE_DAYS.get(range_)
    if days is None:
        if not re.fullmatch(r"[1-9]\d{0,4}d", range_):
            raise _unprocessable(f"Invalid input - range={range_} is not supported.")
        days = int(range_[:-1])
    return max(0, midnight - (days - 1) * DAY)


def _seconds(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?\d{1,12}", text):
        raise _bad(f"Invalid input - {name}={text} is not a number of seconds")
    return int(text)


def _bad(description: str) -> _Refused:
    return _Refused(400, "Bad Request", description)


def _unprocessable(description: str) -> _Refused:
    return _Refused(422, "Unprocessable Entity", description)
