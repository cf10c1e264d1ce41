"""HTTP: the plain way to ask a source, what answers say about time, and how their figures are read."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Literal
from urllib.parse import urlsplit

import httpx2

from include.errors import BadPayload, Transient
from include.market.event import MICROSECONDS
from include.sources.base import Answer

#: From the first knock to the last byte.
TOTAL_SECONDS = 10.0
CONNECT_SECONDS = 4.0
#: Unpacked. The largest good answer, a thousand klines, is 170 kB.
MAX_BODY_BYTES = 8 * 1024 * 1024
#: What is kept of a body that is larger, for the dead letters.
KEPT_BYTES = 64 * 1024
#: Some sources refuse clients that do not say who they are.
USER_AGENT = "market-data-platform"

#: 1990 to 2200: no source of ours has facts from before, and what lies after is not a time.
_OLDEST, _NEWEST = 631_152_000, 7_258_118_400
Unit = Literal["s", "ms", "us"]
#: Microseconds in one of the unit, and the oldest and newest time in it.
_UNITS: dict[Unit, tuple[int, int, int]] = {
    "s": (MICROSECONDS, _OLDEST, _NEWEST),
    "ms": (1_000, _OLDEST * 1_000, _NEWEST * 1_000),
    "us": (1, _OLDEST * MICROSECONDS, _NEWEST * MICROSECONDS),
}
#: Beyond this no price or volume is meant, and `1E+999999999` written out would fill the memory.
_MAX_DIGITS = 20
#: JSON's grammar of a number, bounded; Decimal alone would also take 1_000, ٣, NaN and blanks.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,19})(?:\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
#: Binance's longest ban is three days: who states more means it no better.
LONGEST_PAUSE_SECONDS = 7 * 24 * 3600

# httpx2 writes each URL to its log, keys included.
logging.getLogger("httpx2").addFilter(lambda record: record.levelno > logging.INFO)


class HttpTransport:
    """httpx2, bounded: in time as a whole (a body that drips is no answer), in bytes once unpacked, and
    to the one host (redirects are answers, and are not followed). A proxy of the environment is used.

    Asynchronous inside, because only there one deadline covers everything, the headers too.
    """

    def __init__(self, total_seconds: float = TOTAL_SECONDS) -> None:
        self._total_seconds = total_seconds
        self._runner = asyncio.Runner()
        self._client = httpx2.AsyncClient(
            headers={"user-agent": USER_AGENT},
            timeout=httpx2.Timeout(total_seconds, connect=min(CONNECT_SECONDS, total_seconds)),
        )
        self._one_at_a_time = Lock()

    def get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """See include.sources.client.Transport. The messages name the host only: keys travel in the query."""
        host = urlsplit(url).netloc
        try:
            with self._one_at_a_time:
                return self._runner.run(self._get(url, params, headers))
        except TimeoutError:
            raise Transient(f"{host} did not answer in full within {self._total_seconds:g} s") from None
        except httpx2.RequestError as error:
            raise Transient(f"{host} did not answer: {type(error).__name__}") from None

    def close(self) -> None:
        with self._one_at_a_time:
            self._runner.run(self._client.aclose())
            self._runner.close()

    async def _get(self, url: str, params: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        async with (
            asyncio.timeout(self._total_seconds),
            self._client.stream("GET", url, params=dict(params), headers=dict(headers)) as response,
        ):
            body = bytearray()
            # Unpacked piece by piece: a bomb stops at the limit.
            async for piece in response.aiter_bytes():
                append_bounded(body, piece, urlsplit(url).netloc)
            return Answer(response.status_code, dict(response.headers.items()), bytes(body))


def append_bounded(body: bytearray, piece: bytes, host: str) -> None:
    """Adds a piece of an answer. Raises BadPayload once that is more than MAX_BODY_BYTES."""
    body += piece
    if len(body) > MAX_BODY_BYTES:
        raise BadPayload(f"{host} sent more than {MAX_BODY_BYTES} bytes", bytes(body[:KEPT_BYTES]))


def epoch_us(value: int, *units: Unit) -> int:
    """A source's epoch time, in the unit that it documents (or one of several), to microseconds.

    Raises ValueError for a time before 1990 or after 2200, which is also what a time in another unit
    looks like: no value fits two units.
    """
    for unit in units:
        microseconds, oldest, newest = _UNITS[unit]
        if oldest <= value < newest:
            return value * microseconds
    # Cut, and not by str(): a number of thousands of digits has no text.
    shown = value if abs(value) < 10**30 else "of more than 30 digits"
    raise ValueError(f"time {shown} in {' or '.join(units)} does not lie between 1990 and 2200")


def exact(figure: str | bytes) -> Decimal:
    """A figure in JSON's own way of writing numbers. Raises ValueError unless it is one, and not too large."""
    text = figure if isinstance(figure, str) else figure.decode("ascii", "replace")
    number = _NUMBER.fullmatch(text)
    if number is None:
        raise ValueError(f"{text[:40]!r} is not a number, or out of range")
    value = Decimal(text)
    if number.lastindex and abs(value.adjusted()) >= _MAX_DIGITS:
        raise ValueError(f"{text!r} is out of range")
    return value


def retry_at(retry_after: str | None, now_us: int) -> float | None:
    """A `Retry-After` header, seconds or a date, to UTC epoch seconds; None if it says nothing."""
    if retry_after is None:
        return None
    now = now_us / MICROSECONDS
    if re.fullmatch(r"\s*[0-9]{1,15}\s*", retry_after, re.ASCII):
        return now + min(int(retry_after), LONGEST_PAUSE_SECONDS)
    stated = _date(retry_after)
    return None if stated is None else min(float(stated), now + LONGEST_PAUSE_SECONDS)


def server_time_us(date: str | None, now_us: int) -> int:
    """The server's clock by its `Date` header, or ours where it has none.

    The header has whole seconds, cut off: who asks whether a bar is closed errs to the safe side.
    """
    stated = None if date is None else _date(date)
    return now_us if stated is None else stated * MICROSECONDS


def _date(header: str) -> int | None:
    try:
        return int(parsedate_to_datetime(header).timestamp())
    except (ValueError, OverflowError):
        return None
