from __future__ import annotations

from decimal import Decimal

import pytest

from include.sources.http import epoch_us, exact, retry_at, server_time_us

NOW = 1_700_000_000_000_000


@pytest.mark.parametrize("value", [1_588_740_120, 1_588_740_120_000, 1_588_740_120_000_000, 1_588_740_120 * 10**9])
def test_a_time_in_any_unit_is_the_same_time(value: int) -> None:
    assert epoch_us(value) == 1_588_740_120_000_000


@pytest.mark.parametrize("value", [0, -1, 631_151_999, 10**30])
def test_what_is_no_market_time_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="between 1990 and 2200"):
        epoch_us(value)


def test_a_figure_keeps_its_digits() -> None:
    assert str(exact("0.10000000")) == "0.10000000"
    assert exact("1E-8") == Decimal("0.00000001")


@pytest.mark.parametrize("figure", ["", "NaN", "sNaN", "-Infinity", "1E+20", "1E+999999999", "1E-999999999", "9" * 41])
def test_what_is_no_figure_is_refused(figure: str) -> None:
    with pytest.raises(ValueError, match=r"is not|out of range"):
        exact(figure)


def test_a_retry_time_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_at("15", NOW) == 1_700_000_015
    assert retry_at("Tue, 14 Nov 2023 22:13:30 GMT", NOW) == 1_700_000_010
    assert retry_at("soon", NOW) is None
    assert retry_at(None, NOW) is None


def test_the_servers_clock_is_its_date_or_ours() -> None:
    assert server_time_us("Tue, 14 Nov 2023 22:13:30 GMT", NOW) == 1_700_000_010_000_000
    assert server_time_us("yesterday", NOW) == NOW
    assert server_time_us(None, NOW) == NOW
