"""What is laid over the candles, on literal rows; and that a figure's end goes on where the figure ends."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import plotly.graph_objects as go
from hypothesis import given
from hypothesis import strategies as st

from include.dashboard.charts.candlestick import candlestick_figure, figure_end
from include.dashboard.charts.colours import colours
from include.dashboard.export import chart_csv
from include.dashboard.market_view import ChartData
from include.dashboard.selection import LAYERS, Selection
from include.market.candle import Candle
from include.storage.anomaly_reads import Anomaly
from include.storage.chart_reads import Closure, DataGap, IndicatorPoint, Marks
from tests.unit.dashboard.twins import START, candle

DARK = colours("dark")
ALL = Selection("AAPL", "1m", LAYERS)
MINUTE = timedelta(minutes=1)


def anomaly(minute: int, metric: str = "price", severity: str = "high", **changes: Any) -> Anomaly:
    at = START + minute * MINUTE
    return replace(
        Anomaly("AAPL", "1m", at, metric, 0.0123, 0.0001, 0.002, 6.05, severity, at + timedelta(seconds=70)), **changes
    )


def points(count: int) -> list[IndicatorPoint]:
    return [IndicatorPoint(START + place * MINUTE, 101.0, 101.1, 101.2, 103.0, 99.0, 0.001) for place in range(count)]


def traces(figure: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in figure["data"]}


def test_only_chosen_layers_are_drawn() -> None:
    marks = Marks(points(2))
    drawn = traces(candlestick_figure([candle(0), candle(1)], Selection("AAPL", "1m", ("ema",)), DARK, marks))
    assert list(drawn) == ["final", "provisional", "volume", "ema fast", "ema slow"]
    everything = candlestick_figure([candle(0), candle(1)], ALL, DARK, marks)
    go.Figure(everything)
    assert traces(everything)["sma"]["y"] == [101.0, 101.0]
    assert traces(everything)["vwap"]["y"] == [101.25, 101.25]
    assert everything["layout"]["yaxis3"]["domain"][1] < everything["layout"]["yaxis2"]["domain"][0]


def test_an_indicator_that_is_not_known_yet_is_no_point() -> None:
    marks = Marks([IndicatorPoint(START, None, 101.1), IndicatorPoint(START + MINUTE, 101.0, 101.1)])
    drawn = traces(candlestick_figure([candle(0), candle(1)], ALL, DARK, marks))
    assert drawn["sma"]["y"] == [None, 101.0]


def test_an_anomaly_sits_on_its_candle_and_says_what_is_odd() -> None:
    marks = Marks(anomalies=[anomaly(1), anomaly(0, "volume", "critical", value=9.2, mean=7.1), anomaly(7)])
    drawn = traces(candlestick_figure([candle(0), candle(1)], ALL, DARK, marks))
    price, volume = drawn["price anomalies"], drawn["volume anomalies"]
    # That of minute 7 has no candle here.
    assert (price["x"], price["y"]) == (["2026-03-02T14:31:00"], [102.25])
    assert price["text"] == ["z +6.0 · high<br>return +1.230 %<br>usual +0.010 ± 0.200 %"]
    assert (volume["y"], volume["yaxis"]) == ([1200.0], "y2")
    assert "8.2 times the usual" in volume["text"][0]
    assert volume["marker"]["size"] > price["marker"]["size"]
    assert price["marker"]["symbol"] != volume["marker"]["symbol"]


def test_a_gap_is_shaded_and_a_switch_of_source_is_named() -> None:
    marks = Marks(gaps=[DataGap(START + 2 * MINUTE, START + 5 * MINUTE, "our outage", "open", "asked at 14:40")])
    candles = [candle(0), candle(1), candle(5, source="alpha_vantage")]
    figure = candlestick_figure(candles, ALL, DARK, marks)
    go.Figure(figure)
    shapes = {shape["name"]: shape for shape in figure["layout"]["shapes"]}
    assert (shapes["gap"]["x0"], shapes["gap"]["x1"]) == ("2026-03-02T14:32:00", "2026-03-02T14:35:00")
    assert shapes["source"]["label"]["text"] == "alpha vantage"
    words = "3 minutes missing from 14:32<br>our outage · open<br>asked at 14:40"
    assert traces(figure)["gaps"]["text"] == [words]
    without = candlestick_figure(candles, Selection("AAPL", "1m", ()), DARK, marks)
    assert [shape["name"] for shape in without["layout"]["shapes"]] == ["last price"]


def test_nights_take_no_room_and_no_candle_of_their_edges_is_lost() -> None:
    night = Closure(START.replace(hour=21, minute=0), START.replace(hour=14) + timedelta(days=1))
    for timeframe, bounds in (
        ("1m", ["2026-03-02T21:00:00", "2026-03-03T14:30:00"]),
        ("1h", ["2026-03-02T21:00:00", "2026-03-03T14:00:00"]),
    ):
        layout = candlestick_figure([candle(0)], Selection("AAPL", timeframe), DARK, Marks(closures=[night]))["layout"]  # type: ignore[arg-type]
        assert layout["xaxis"]["rangebreaks"] == [{"bounds": bounds}]
    # A day that is traded at all has its candle.
    days = candlestick_figure([candle(0)], Selection("AAPL", "1d"), DARK, Marks(closures=[night]))["layout"]
    assert days["xaxis"]["rangebreaks"] == []


def test_a_range_in_the_address_is_what_is_in_view() -> None:
    chosen = replace(ALL, start=START + 3 * MINUTE, end=START + 9 * MINUTE)
    layout = candlestick_figure([candle(minute) for minute in range(20)], chosen, DARK)["layout"]
    assert layout["xaxis"]["range"] == ["2026-03-02T14:33:00", "2026-03-02T14:39:00"]
    assert layout["meta"]["ranged"] is True


@given(st.integers(1, 40), st.data())
def test_a_figure_with_its_end_is_the_whole_figure(count: int, data: st.DataObject) -> None:
    """As assets/market_chart.js joins them: every trace up to a moment, and the points from there on."""
    kinds = st.tuples(st.booleans(), st.sampled_from(["100.75", "101.5"]))
    candles = [
        candle(minute, close, is_final=is_final)
        for minute, (is_final, close) in enumerate(data.draw(st.lists(kinds, min_size=count, max_size=count)))
    ]
    odd = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    marks = Marks(points(count), [anomaly(minute) for minute in sorted(odd)])
    cut = data.draw(st.integers(0, count - 1))
    before = candlestick_figure(candles[: cut + 1], ALL, DARK, _until(marks, candles[cut]))
    end = figure_end(candles[cut:], ALL, colours("light", True), _since(marks, candles[cut]))
    assert end is not None
    whole = traces(candlestick_figure(candles, ALL, DARK, marks))
    for name, trace in traces(before).items():
        kept = sum(x < end["from"] for x in trace["x"])
        for column, values in end["traces"][name].items():
            outer, _, inner = column.partition(".")
            held = trace[outer][inner] if inner else trace[outer]
            expected = whole[name][outer][inner] if inner else whole[name][outer]
            assert held[:kept] + values == expected, (name, column)


def _since(marks: Marks, first: Candle) -> Marks:
    return Marks(
        [each for each in marks.indicators if each.window_start >= first.window_start],
        [each for each in marks.anomalies if each.window_start >= first.window_start],
    )


def _until(marks: Marks, last: Candle) -> Marks:
    return Marks(
        [each for each in marks.indicators if each.window_start <= last.window_start],
        [each for each in marks.anomalies if each.window_start <= last.window_start],
    )


def test_an_update_is_a_small_part_of_the_figure() -> None:
    candles = [candle(minute) for minute in range(500)]
    whole = candlestick_figure(candles, ALL, DARK, Marks(points(500)))
    end = figure_end(candles[-2:], ALL, DARK, Marks(points(500)[-2:]))
    assert len(json.dumps(end)) < 0.02 * len(json.dumps(whole))


def test_the_table_has_exact_figures_and_empty_places() -> None:
    data = ChartData([candle(0, volume=None, vwap=None), candle(1, close="101.12345678")], True, Marks(points(1)))
    header, first, second = chart_csv(data).splitlines()
    assert header.startswith("window_start,open,high,low,close,volume,vwap,event_count,source,is_final,sma_20")
    assert first == "2026-03-02T14:30:00Z,101,102.25,100.5,101.5,,,1,yahoo,true,101.0,101.1,101.2,103.0,99.0,0.001"
    assert second.startswith("2026-03-02T14:31:00Z,101,102.25,100.5,101.12345678,1200,101.25,1,yahoo,true,,,")
    assert chart_csv(ChartData([], True)).count("\n") == 1
    assert Decimal(second.split(",")[4]) == Decimal("101.12345678")


def test_the_lines_are_in_view_with_the_candles_and_an_empty_pane_has_modest_ticks() -> None:
    candles = [candle(minute) for minute in range(30)]
    wide = [replace(point, bollinger_upper=160.0, bollinger_lower=40.0) for point in points(30)]
    low, high = candlestick_figure(candles, ALL, DARK, Marks(wide))["layout"]["yaxis"]["range"]
    assert low < 40 < 160 < high
    low, high = candlestick_figure(candles, replace(ALL, layers=()), DARK, Marks(wide))["layout"]["yaxis"]["range"]
    assert 100 < low < high < 103
    unknown = [IndicatorPoint(each.window_start) for each in candles]
    assert candlestick_figure(candles, ALL, DARK, Marks(unknown))["layout"]["yaxis3"]["range"] == [0, 0.001]
