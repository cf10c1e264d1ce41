"""What Binance's answers can be instead of good ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from include.sandbox.dialect import Handler, json_response
from include.sandbox.faults import Fault, FaultKind, changed, whole
from include.sandbox.transport_faults import CLOCK_FAULTS, HTML, TRANSPORT_FAULTS, Place, value_faults

KLINES, PRICES = "/klines", ("price", "lastPrice")
HOUR_MS = 3_600_000
BAN_SECONDS, RETRY_SECONDS = 120.0, 30.0
_WEIGHT = (
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_PLACE = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in "
    "https://www.binance.com/en/terms. Please contact customer service if you believe you received this message "
    "in error."
)
_TIMEOUT = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."


async def _too_much(request: Request, respond: Handler, fault: Fault) -> Response:
    wait = round(fault.seconds_left(request.app.state.clock(), RETRY_SECONDS))
    return json_response({"code": -1003, "msg": _WEIGHT}, 429, {"retry-after": str(wait)})


def _banned(with_header: bool) -> Any:
    async def effect(request: Request, respond: Handler, fault: Fault) -> Response:
        now = request.app.state.clock()
        left = fault.seconds_left(now, BAN_SECONDS)
        until = round((now + left) * 1000)
        message = f"Way too much request weight used; IP banned until {until}. {_WEIGHT.partition('. ')[2]}"
        headers = {"retry-after": str(round(left))} if with_header else {}
        return json_response({"code": -1003, "msg": message}, 418, headers)

    return effect


def _rows(document: Any) -> list[list[Any]]:
    """The rows of klines; none of another answer."""
    return [row for row in document if isinstance(row, list)] if isinstance(document, list) else []


def _objects(document: Any) -> list[dict[str, Any]]:
    return [document] if isinstance(document, dict) else [row for row in document if isinstance(row, dict)]


def _prices(document: Any) -> Iterator[Place]:
    for row in _rows(document):
        yield from ((row, column) for column in (1, 2, 3, 4))
    for entry in _objects(document):
        yield from ((entry, key) for key in PRICES if key in entry)


def _missing_hour(document: Any, fault: Fault) -> None:
    """The whole hour before the fault began, of every symbol."""
    end = int(fault.began * 1000) // HOUR_MS * HOUR_MS
    document[:] = [row for row in document if not end - HOUR_MS <= row[0] < end]


def _off_grid(document: Any, fault: Fault) -> None:
    for row in document[-3:-1]:
        row[0] += 7_000


def _in_unit(number: int, divisor: int) -> Any:
    def change(document: Any, fault: Fault) -> None:
        for row in _rows(document):
            row[0], row[6] = row[0] * number // divisor, row[6] * number // divisor

    return change


def _future(document: Any, fault: Fault) -> None:
    for row in document[-3:]:
        row[0], row[6] = row[0] + HOUR_MS, row[6] + HOUR_MS


def _equal_times(document: Any, fault: Fault) -> None:
    """The last closed rows come twice, the second time dearer: open and all."""
    for row in document[-3:-1]:
        dearer = [f"{float(figure) * 1.01:.8f}" for figure in row[1:5]]
        document.insert(-1, [row[0], *dearer, *row[5:]])


def _status(name: str) -> Any:
    def change(document: Any, fault: Fault) -> None:
        for entry in document["symbols"]:
            if fault.symbol_id in (None, entry["symbol"]):
                entry["status"] = name

    return change


BINANCE_FAULTS: tuple[FaultKind, ...] = (
    FaultKind("429", "429 too much weight, with Retry-After", _too_much),
    FaultKind("418", "418 banned, with Retry-After; further calls are counted", _banned(True), ban=True),
    FaultKind("418-text", "418 banned, its end only in the text; further calls are counted", _banned(False), ban=True),
    whole("403", "403 page of the firewall", 403, "<html><body>403 Forbidden</body></html>", media=HTML),
    whole("451", "451 restricted location", 451, {"code": 0, "msg": _PLACE}),
    whole("invalid-symbol", "400 -1121, the whole batch for one name", 400, {"code": -1121, "msg": "Invalid symbol."}),
    whole("invalid-interval", "400 -1120", 400, {"code": -1120, "msg": "Invalid interval."}),
    whole("500", "500 -1000", 500, {"code": -1000, "msg": "An unknown error occurred while processing the request."}),
    whole("503", "503 -1008", 503, {"code": -1008, "msg": "Server is currently overloaded with other requests."}),
    whole("timeout", "504 -1007, the backend did not answer", 504, {"code": -1007, "msg": _TIMEOUT}),
    changed("missing-hour", "the hour before the fault began has no candle, of any symbol", _missing_hour, path=KLINES),
    changed("off-grid", "the last closed candles start 7 seconds late", _off_grid, path=KLINES),
    changed("microseconds", "candles' times in microseconds, not milliseconds", _in_unit(1000, 1), path=KLINES),
    changed("seconds", "candles' times in seconds, not milliseconds", _in_unit(1, 1000), path=KLINES),
    changed("future-1h", "the newest candles are an hour ahead", _future, path=KLINES),
    changed("equal-times", "the newest closed candles come twice, with different prices", _equal_times, path=KLINES),
    changed("break", "exchangeInfo says BREAK", _status("BREAK"), path="exchangeInfo"),
    changed("halt", "exchangeInfo says HALT", _status("HALT"), path="exchangeInfo"),
    *value_faults(_prices),
    *CLOCK_FAULTS,
    *TRANSPORT_FAULTS,
)
