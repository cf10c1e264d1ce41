"""What a split makes of bars, and a day that it was applied to in part."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.market.corporate_action import CorporateAction, as_traded, half_adjusted, split_ratio
from include.market.event import MarketEvent, bar

SPLIT = date(2014, 6, 9)
SEVEN = CorporateAction("AAPL", "split", SPLIT, "yahoo", 0, numerator=Decimal(7), denominator=Decimal(1))
DIVIDEND = CorporateAction("AAPL", "dividend", date(2014, 5, 8), "yahoo", 0, amount=Decimal("0.47"), currency="USD")
REVERSE = CorporateAction("AAPL", "split", date(2016, 1, 4), "yahoo", 0, numerator=Decimal(1), denominator=Decimal(10))


def minute(number: int, price: str, volume: str | None = "700") -> MarketEvent:
    return bar(
        symbol="AAPL",
        asset_class="stock",
        source="yahoo",
        start=number * 60_000_000,
        interval_seconds=60,
        prices=(Decimal(price),) * 4,
        volume=None if volume is None else Decimal(volume),
        currency="USD",
        ingested_at=0,
    )


@pytest.mark.parametrize(
    ("day", "until", "ratio"),
    [
        (date(2014, 6, 6), date(2014, 6, 8), Fraction(1)),
        (date(2014, 6, 6), SPLIT, Fraction(7)),
        (SPLIT, date(2015, 1, 1), Fraction(1)),
        (date(2014, 6, 6), date(2026, 1, 1), Fraction(7, 10)),
    ],
)
def test_a_day_is_off_by_the_splits_after_it(day: date, until: date, ratio: Fraction) -> None:
    assert split_ratio([DIVIDEND, SEVEN, REVERSE], day, until) == ratio


def test_bars_are_taken_in_the_shares_of_their_day() -> None:
    (found,) = as_traded([minute(1, "92.2242857")], Fraction(7))
    assert (found.close, found.volume) == (Decimal("645.5699999"), Decimal(100))
    assert as_traded([minute(1, "92", None)], Fraction(7))[0].volume is None


@given(
    st.decimals(min_value="0.01", max_value="99999", places=4),
    st.sampled_from([Fraction(7), Fraction(1, 10), Fraction(3, 2)]),
)
def test_there_and_back_is_the_same_to_the_last_digits(price: Decimal, ratio: Fraction) -> None:
    once = as_traded([minute(1, f"{price}")], ratio)
    (back,) = as_traded(once, 1 / ratio)
    assert abs(back.close - price) <= Decimal("0.00000006")


def test_a_day_that_is_adjusted_in_part_is_found_at_its_seam() -> None:
    whole = [minute(number, f"{645 + number}") for number in range(10)]
    torn = [*whole[:6], *as_traded(whole[6:], Fraction(1, 7))]
    assert half_adjusted(whole, [SEVEN.ratio]) is None
    assert half_adjusted(torn, [SEVEN.ratio]) == torn[6]
    assert half_adjusted(torn[::-1], [SEVEN.ratio]) is not None
    assert half_adjusted(torn, []) is None, "a move of the market, for all that is known"
    assert half_adjusted(torn, [REVERSE.ratio, DIVIDEND.ratio]) is None


def test_a_small_one_cannot_be_told_from_a_move() -> None:
    jump = [minute(0, "100"), minute(1, "95.3")]
    assert half_adjusted(jump, [Fraction(21, 20)]) is None
