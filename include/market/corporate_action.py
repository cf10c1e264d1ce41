"""Splits and dividends, and what they make of prices that a source has adjusted for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Literal

import msgspec

from include.market.event import MAX_DECIMALS, MarketEvent, Source

_SMALLEST = Decimal(1).scaleb(-MAX_DECIMALS)
#: A step within a day that comes as near to a split's ratio as this is that split, half applied.
_NEAR = Fraction(11, 10)
#: A smaller one cannot be told from a move of the market.
SMALLEST_RATIO = Fraction(3, 2)


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """What a source says of a symbol's shares. `ex_date` is the first day in New York that is traded without it.

    A split makes `numerator` shares of `denominator`. A dividend's `amount` is in `currency` a share, as the source had
    it when it was asked: adjusted for the splits until then.
    """

    symbol: str
    kind: Literal["split", "dividend"]
    ex_date: date
    source: Source
    ingested_at: int
    numerator: Decimal | None = None
    denominator: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None

    @property
    def ratio(self) -> Fraction:
        """Shares after for each before; 1 for a dividend."""
        if self.numerator is None or self.denominator is None:
            return Fraction(1)
        return Fraction(self.numerator) / Fraction(self.denominator)


def split_ratio(actions: Iterable[CorporateAction], day: date, until: date) -> Fraction:
    """By how much the splits after `day`, up to and including `until`, have multiplied the shares."""
    ratio = Fraction(1)
    for action in actions:
        if day < action.ex_date <= until:
            ratio *= action.ratio
    return ratio


def as_traded(bars: Iterable[MarketEvent], ratio: Fraction) -> list[MarketEvent]:
    """Bars that a source has adjusted for splits of this ratio, as they were traded: in prices and shares of their day.

    Prices are right to the source's own digits, times the ratio.
    """
    return [
        msgspec.structs.replace(
            bar,
            open=_times(bar.open, ratio),
            high=_times(bar.high, ratio),
            low=_times(bar.low, ratio),
            close=_times(bar.close, ratio),
            volume=None if bar.volume is None else _times(bar.volume, 1 / ratio),
        )
        for bar in bars
    ]


def half_adjusted(bars: Sequence[MarketEvent], ratios: Iterable[Fraction]) -> MarketEvent | None:
    """The bar at which a day changes from adjusted to not, or the other way; None where it is of a piece.

    `ratios` are those of the splits about that day.
    """
    wanted = [ratio for ratio in ratios if max(ratio, 1 / ratio) >= SMALLEST_RATIO]
    for before, after in pairwise(bars):
        step = Fraction(after.open) / Fraction(before.close)
        for ratio in wanted:
            if any(1 / _NEAR < step * other < _NEAR for other in (ratio, 1 / ratio)):
                return after
    return None


def _times(figure: Decimal, ratio: Fraction) -> Decimal:
    exact = Fraction(figure) * ratio
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(_SMALLEST).normalize()
