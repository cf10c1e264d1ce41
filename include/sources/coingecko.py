"""CoinGecko: current prices of coins in US dollars, for any key and without one.

The price is an index over many venues, made anew about once a minute; the volume beside it is a rolling
24 hours in dollars and is not asked for. https://docs.coingecko.com/reference/simple-price
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from include.errors import (
    AuthStale,
    BadPayload,
    Banned,
    PlanForbidden,
    RateLimited,
    SourceError,
    SymbolUnknown,
    Transient,
)
from include.market.event import MAX_DECIMALS, MICROSECONDS, MarketEvent, quote
from include.market.instrument import Instrument
from include.settings import Settings
from include.sources.base import (
    QUOTES,
    Answer,
    Capability,
    Declaration,
    FetchResult,
    Question,
    RateRule,
    Rejected,
    Want,
    source_id,
)
from include.sources.http import epoch_us, exact, retry_at
from include.sources.strict import decode

#: 515 ids in one call have been seen to be answered.
COINS_PER_CALL = 500
CACHE_SECONDS = 60
DECLARATION = Declaration(
    name="coingecko",
    capabilities=(Capability(QUOTES, "crypto", batch=COINS_PER_CALL, delay_seconds=CACHE_SECONDS),),
    # 31 days: so no calendar month can be over, whichever day the count begins on.
    rates=(RateRule("coingecko_calls_per_minute", 60), RateRule("coingecko_calls_per_month", 31 * 86_400)),
    base_url="https://api.coingecko.com/api/v3",
)
KEY_HEADERS = {"demo": "x-cg-demo-api-key", "pro": "x-cg-pro-api-key"}
#: A limit without a `Retry-After`.
PAUSE_SECONDS = 60
_TOO_MANY = 429
_NO_KEY, _NOT_IN_PLAN, _RANGE_NOT_IN_PLAN = 10002, 10005, 10012
_WRONG_HOST = frozenset({10010, 10011})
_PLACES = Decimal(1).scaleb(-MAX_DECIMALS)
_NULL = msgspec.Raw(b"null")


class _Stated(msgspec.Struct):
    error_code: int
    error_message: str = ""


class _Status(msgspec.Struct):
    """What may stand under `error`, where it is not a plain text."""

    status: _Stated


class _Coin(msgspec.Struct):
    usd: msgspec.Raw = _NULL
    last_updated_at: int | None = None


_coins = msgspec.json.Decoder(dict[str, msgspec.Raw])
_coin = msgspec.json.Decoder(_Coin)
_stated = msgspec.json.Decoder(_Stated)
_status = msgspec.json.Decoder(_Status)
_text = msgspec.json.Decoder(str)


class CoinGeckoSource:
    """See PriceSource."""

    def __init__(self, api_key: str = "", plan: str = "demo") -> None:
        self._secret_headers = {KEY_HEADERS[plan]: api_key} if api_key else {}
        self._plan = plan

    @property
    def declaration(self) -> Declaration:
        return DECLARATION

    @property
    def plan(self) -> str:
        return self._plan

    def questions(
        self,
        want: Want,
        instruments: Sequence[Instrument],
        since_us: Mapping[str, int],
        now_us: int,
        until_us: int | None = None,
    ) -> list[Question]:
        """One for up to COINS_PER_CALL coins."""
        if want != QUOTES:
            raise ValueError(f"coingecko is not asked for {want.name}")
        batches = range(0, len(instruments), COINS_PER_CALL)
        return [self._prices(tuple(instruments[first : first + COINS_PER_CALL])) for first in batches]

    def refusal(self, answer: Answer, now_us: int) -> SourceError | None:
        """By the code in the body first (a limit came with status 200, too), then by the status."""
        stated = _error(answer.body)
        if answer.status == 200 and stated is None:
            return None
        code, message = stated or (0, "")
        said = f"coingecko answered {answer.status}" + (f" ({code} {message[:300]})" if stated else "")
        until = retry_at(answer.headers.get("retry-after"), now_us)
        if code == _TOO_MANY or answer.status == _TOO_MANY:
            return RateLimited(said, until or now_us / MICROSECONDS + PAUSE_SECONDS)
        if code in (_NOT_IN_PLAN, _RANGE_NOT_IN_PLAN):
            return PlanForbidden(said)
        if code in _WRONG_HOST:
            return AuthStale(f"{said}; set COINGECKO_PLAN, and COINGECKO_BASE_URL to the host of that plan")
        if code == _NO_KEY or answer.status == 401:
            return AuthStale(f"{said}; set COINGECKO_API_KEY")
        # 1020 is the content network's: this address or client is shut out.
        if answer.status == 403:
            return Banned(said, until)
        if "coin not found" in message:
            return SymbolUnknown(said)
        if answer.status in (408, 425) or answer.status >= 500:
            return Transient(said, until)
        return SourceError(said)

    def read(self, question: Question, answer: Answer, now_us: int) -> FetchResult:
        """Prices. What CoinGecko leaves out, or has no price for, is no fault."""
        try:
            coins = decode(answer.body, _coins)
        except ValueError as error:
            raise BadPayload(f"coingecko: no prices by coin: {error}", answer.body) from error
        asked = {source_id(instrument, "coingecko"): instrument for instrument in question.instruments}
        if coins and not coins.keys() & asked.keys():
            raise BadPayload("coingecko: no coin in it that was asked for", answer.body)
        result = FetchResult()
        for id_, instrument in asked.items():
            if id_ not in coins:
                result.dropped["not known to coingecko"] += 1
                continue
            try:
                event = _price(coins[id_], instrument, now_us)
            except ValueError as error:
                raw = msgspec.json.encode({id_: coins[id_]})
                result.rejected.append(
                    Rejected(raw, f"price: {error}", "coingecko", instrument.symbol, question.want.name)
                )
                continue
            if event is None:
                result.dropped["no price"] += 1
            else:
                result.events.append(event)
        result.dropped["not asked for"] += len(coins.keys() - asked.keys())
        return result

    def used(self, answer: Answer) -> int | None:
        """Answers do not say."""
        return None

    def _prices(self, instruments: tuple[Instrument, ...]) -> Question:
        params = {
            "ids": ",".join(source_id(instrument, "coingecko") for instrument in instruments),
            "vs_currencies": "usd",
            "include_last_updated_at": "true",
            "precision": "full",
        }
        return Question(QUOTES, instruments, "/simple/price", params, secret_headers=self._secret_headers)


def build(settings: Settings) -> CoinGeckoSource:
    """The source with its key, if there is one."""
    key = settings.coingecko_api_key
    return CoinGeckoSource("" if key is None else key.get_secret_value(), settings.coingecko_plan)


def _error(body: bytes) -> tuple[int, str] | None:
    """(code, message) of a body that is an error, in one of its three shapes; None for any other.

    A coin may be named `status` or `error`: its figures have none of these shapes.
    """
    try:
        parts = decode(body, _coins)
        error = bytes(parts.get("error", b""))
        if error.startswith(b'"'):
            return 0, _text.decode(error)
        stated = _status.decode(error).status if error else _stated.decode(parts.get("status", b""))
    except ValueError:
        return None
    return stated.error_code, stated.error_message


def _price(row: msgspec.Raw, instrument: Instrument, now_us: int) -> MarketEvent | None:
    """None where CoinGecko has no price. Raises ValueError for what is none.

    An index has more digits than any venue trades in: those after the eighth decimal are rounded, half to even.
    """
    coin = _Coin() if row == _NULL else _coin.decode(row)
    if coin.usd == _NULL:
        return None
    if coin.last_updated_at is None:
        raise ValueError("without last_updated_at")
    price = exact(bytes(coin.usd))
    places = price.as_tuple().exponent
    if isinstance(places, int) and places < -MAX_DECIMALS:
        price = price.quantize(_PLACES, ROUND_HALF_EVEN)
    return quote(
        symbol=instrument.symbol,
        asset_class=instrument.asset_class,
        source="coingecko",
        time=epoch_us(coin.last_updated_at, "s"),
        price=price,
        currency="USD",
        ingested_at=now_us,
    )
