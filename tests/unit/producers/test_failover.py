"""Who serves: taken over within the poll, given back only after the better source has shown that it is well."""

from __future__ import annotations

import pytest

from include.errors import Banned, RateLimited, SourceError, SymbolUnknown, Transient
from include.market.event import MICROSECONDS
from include.producers.failover import Switch
from include.sources.base import END_OF_DAY, MINUTE_BARS, MINUTE_US, QUOTES
from tests.unit.producers.told import AAPL, MINUTE, MSFT, NOW, Bench, Told, ToldSource, a_bar, a_quote

BAD = [
    Transient("reset"),
    RateLimited("fewer", until=NOW / MICROSECONDS + 60),
    Banned("out", until=NOW / MICROSECONDS + 60),
]


def second(bars: dict[str, Told]) -> ToldSource:
    return ToldSource("alpha_vantage", {"bar60": bars})


def first(bars: dict[str, Told]) -> ToldSource:
    return ToldSource("yahoo", {"bar60": bars})


def both(symbol: str, start: int = MINUTE - MINUTE_US) -> tuple[list[Told], list[Told]]:
    return [a_bar(symbol, start)], [a_bar(symbol, start, source="alpha_vantage")]  # type: ignore[list-item]


@pytest.mark.parametrize("error", BAD)
def test_a_failing_source_is_taken_over_within_the_poll(error: SourceError) -> None:
    bench = Bench(
        [first({"AAPL": error, "MSFT": error}), second({s: both(s)[1] for s in ("AAPL", "MSFT")})],  # type: ignore[arg-type, misc]
        wants=(MINUTE_BARS,),
    )
    report = bench.poll(AAPL, MSFT)
    assert [(event.symbol, event.source) for event in bench.publisher.events] == [
        ("AAPL", "alpha_vantage"),
        ("MSFT", "alpha_vantage"),
    ]
    (switch,) = bench.board.switches
    assert switch == Switch("stock", "bar60", "yahoo", "alpha_vantage", switch.reason)
    assert type(error).__name__ in switch.reason
    assert len(report.switches) == 1


def test_while_another_serves_the_better_one_is_probed_once_a_poll_and_nothing_of_it_is_published() -> None:
    source = first({"AAPL": Transient("reset"), "MSFT": Transient("reset")})
    bench = Bench([source, second({})], wants=(MINUTE_BARS,), is_open=False)
    bench.poll(AAPL, MSFT)
    source.asked.clear()
    source.told["bar60"] = {"AAPL": [a_bar("AAPL", MINUTE)], "MSFT": [a_bar("MSFT", MINUTE)]}
    bench.now += MINUTE_US
    bench.poll(AAPL, MSFT)
    assert [symbol for _, symbol, _ in source.asked] == ["AAPL"]
    assert not [event for event in bench.publisher.events if event.source == "yahoo"]


def test_the_better_one_serves_again_after_three_answers_and_no_fact_is_lost_or_doubled() -> None:
    served = [first({"AAPL": Transient("reset")}), second({})]
    bench = Bench(served, wants=(MINUTE_BARS,))

    def minute_passes() -> None:
        """Both have every minute of the past; each source is asked from where any of them ended."""
        bench.now += MINUTE_US
        closed = [MINUTE + n * MINUTE_US for n in range((bench.now - NOW) // MINUTE_US)]
        for source in served:
            if source.name == "alpha_vantage" or not broken:
                source.told["bar60"] = {"AAPL": [a_bar("AAPL", start, source=source.name) for start in closed]}

    broken = True
    for _ in range(3):
        minute_passes()
        bench.poll(AAPL)
    broken = False
    switched = []
    for _ in range(8):
        minute_passes()
        switched.append(len(bench.poll(AAPL).switches))
    bars = [event for event in bench.publisher.events if event.kind == "bar"]
    starts = [event.event_time for event in bars]
    assert sum(switched) == 1
    assert switched.index(1) >= 2, "not at the first sign of life"
    assert [switch.to_source for switch in bench.board.switches] == ["alpha_vantage", "yahoo"]
    assert starts == sorted(set(starts)), "each minute once, whoever gave it"
    assert starts == list(range(starts[0], starts[-1] + 1, MINUTE_US)), "and none is missing"
    assert {event.source for event in bars[-3:]} == {"yahoo"}


def test_one_symbol_in_trouble_is_served_by_the_next_source_and_nothing_is_switched() -> None:
    bench = Bench(
        [
            first({"AAPL": Transient("reset"), "MSFT": [a_bar("MSFT")]}),
            second({"AAPL": [a_bar("AAPL", source="alpha_vantage")]}),
        ],
        wants=(MINUTE_BARS,),
    )
    report = bench.poll(AAPL, MSFT)
    assert {(event.symbol, event.source) for event in bench.publisher.events} == {
        ("AAPL", "alpha_vantage"),
        ("MSFT", "yahoo"),
    }
    assert report.switches == ()


def test_a_symbol_that_the_source_does_not_know_costs_the_next_one_nothing() -> None:
    spare = second({})
    bench = Bench([first({"AAPL": SymbolUnknown("who"), "MSFT": [a_bar("MSFT")]}), spare], wants=(MINUTE_BARS,))
    bench.poll(AAPL, MSFT)
    assert spare.asked == []


def test_a_source_that_repeats_itself_while_its_market_is_open_is_replaced() -> None:
    old = ToldSource("yahoo", {"quote": {"AAPL": [a_quote("AAPL", NOW - 181 * MICROSECONDS)]}})
    fresh = ToldSource("alpha_vantage", {"quote": {"AAPL": [a_quote("AAPL", NOW, source="alpha_vantage")]}})
    bench = Bench([old, fresh], wants=(QUOTES,))
    report = bench.poll(AAPL)
    assert [switch.to_source for switch in bench.board.switches] == ["alpha_vantage"]
    assert "nothing new for 181 s" in report.switches[0]


def test_a_closed_market_is_not_stale() -> None:
    old = ToldSource("yahoo", {"quote": {"AAPL": [a_quote("AAPL", NOW - 3600 * MICROSECONDS)]}})
    spare = ToldSource("alpha_vantage", {"quote": {}})
    Bench([old, spare], wants=(QUOTES,), is_open=False).poll(AAPL)
    assert spare.asked == []


def test_where_nobody_has_newer_figures_nothing_is_switched() -> None:
    quiet = ToldSource("yahoo", {"quote": {"AAPL": [a_quote("AAPL", NOW - 600 * MICROSECONDS)]}})
    same = ToldSource(
        "alpha_vantage", {"quote": {"AAPL": [a_quote("AAPL", NOW - 600 * MICROSECONDS, source="alpha_vantage")]}}
    )
    bench = Bench([quiet, same], wants=(QUOTES,))
    assert bench.poll(AAPL).switches == ()


def test_a_source_with_yesterdays_figures_helps_out_and_keeps_its_pace() -> None:
    slow = ToldSource(
        "alpha_vantage",
        {"quote": {"AAPL": [a_quote("AAPL", NOW - 3600 * MICROSECONDS, source="alpha_vantage")]}},
        delay_seconds=END_OF_DAY,
    )
    bench = Bench([ToldSource("yahoo", {"quote": {"AAPL": Transient("reset")}}), slow], wants=(QUOTES,))
    for _ in range(5):
        bench.poll(AAPL)
        bench.now += MINUTE_US
    assert len(slow.asked) == 1
    assert [event.source for event in bench.publisher.events] == ["alpha_vantage"]


def test_where_all_fail_the_active_one_stays() -> None:
    bench = Bench(
        [first({"AAPL": Transient("reset")}), second({"AAPL": Transient("also")})],
        wants=(MINUTE_BARS,),
    )
    with pytest.raises(Transient):
        bench.poll(AAPL)
    assert bench.board.switches == []


def test_prices_that_come_with_the_bars_are_given_back_with_them() -> None:
    served = ToldSource("yahoo", {"bar60": {"AAPL": Transient("reset")}, "quote": {}}, carries=(QUOTES,))
    spare = ToldSource("alpha_vantage", {"quote": {"AAPL": [a_quote("AAPL", source="alpha_vantage")]}})
    bench = Bench([served, spare], is_open=False)
    served.told["quote"] = {"AAPL": Transient("reset")}
    bench.poll(AAPL)
    assert bench.board.active("stock", "quote") == "alpha_vantage"
    served.told = {"bar60": {"AAPL": [a_quote("AAPL", NOW + MINUTE_US)]}, "quote": {}}
    for _ in range(6):
        bench.now += MINUTE_US
        bench.poll(AAPL)
    assert bench.board.active("stock", "quote") == "yahoo"
