from __future__ import annotations

import pytest

from include.errors import BadPayload, GeoBlocked, MarketDataError, RateLimited, SymbolUnknown, Transient
from include.sources.retry import BUDGET_SECONDS, TRIES, retrying


class Failing:
    def __init__(self, error: MarketDataError) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (Transient("reset"), TRIES),
        (RateLimited("fewer", until=None), 1),
        (GeoBlocked("451"), 1),
        (SymbolUnknown("who"), 1),
        (BadPayload("html"), 1),
    ],
)
def test_only_what_can_pass_is_tried_again_and_the_last_error_is_the_one_raised(
    error: MarketDataError, calls: int
) -> None:
    failing, waits = Failing(error), []
    with pytest.raises(type(error)) as caught:
        retrying(sleep=waits.append)(failing)
    assert caught.value is error
    assert failing.calls == calls
    assert len(waits) == calls - 1
    assert sum(waits) < BUDGET_SECONDS


def test_waits_are_drawn_anew_each_time() -> None:
    waits: list[float] = []
    for _ in range(10):
        with pytest.raises(Transient):
            retrying(sleep=waits.append)(Failing(Transient("reset")))
    assert len(set(waits)) > 10
