"""The figure on literal candles, and the one place that makes graphs."""

from __future__ import annotations

import ast
from decimal import Decimal
from pathlib import Path

import plotly.graph_objects as go
import pytest

import include.dashboard
from include.dashboard.charts.axes import IN_VIEW
from include.dashboard.charts.candlestick import candlestick_figure, figure_end
from include.dashboard.charts.colours import colours
from include.dashboard.components.graph import graph
from include.dashboard.selection import LAYERS, Selection
from tests.unit.dashboard.twins import candle

DARK = colours("dark")
MINUTES = Selection("AAPL", "1m")
PLAIN = Selection("AAPL", "1m", ())


def test_plotly_accepts_the_figure() -> None:
    figure = go.Figure(candlestick_figure([candle(0), candle(1, is_final=False)], MINUTES, DARK))
    assert [trace.type for trace in figure.data[:3]] == ["candlestick", "candlestick", "bar"]
    assert len({trace.name for trace in figure.data}) == len(figure.data)


def test_prices_volume_and_times_are_those_of_the_candles() -> None:
    candles, _, volume = candlestick_figure([candle(0), candle(1, close="102")], PLAIN, DARK)["data"]
    assert candles["x"] == ["2026-03-02T14:30:00", "2026-03-02T14:31:00"]
    assert (candles["open"], candles["close"]) == ([101.0, 101.0], [101.5, 102.0])
    assert (candles["high"], candles["low"]) == ([102.25, 102.25], [100.5, 100.5])
    assert (volume["x"], volume["y"]) == (candles["x"], [1200.0, 1200.0])


def test_a_provisional_candle_is_drawn_lighter_and_said_to_be_so() -> None:
    final, provisional, volume = candlestick_figure([candle(0), candle(1, is_final=False)], PLAIN, DARK)["data"]
    assert (len(final["x"]), len(provisional["x"])) == (1, 1)
    assert provisional["opacity"] < final["opacity"]
    assert volume["customdata"][1][-1] == "provisional"


def test_volume_that_no_source_gave_is_a_gap_not_a_zero() -> None:
    assert candlestick_figure([candle(0, volume=None)], MINUTES, DARK)["data"][2]["y"] == [None]


def test_zoom_belongs_to_symbol_and_timeframe_only() -> None:
    first = candlestick_figure([candle(0)], MINUTES, DARK)["layout"]["uirevision"]
    later = candlestick_figure([candle(0), candle(1)], MINUTES, colours("light"))["layout"]["uirevision"]
    other = candlestick_figure([candle(0)], Selection("AAPL", "5m"), DARK)["layout"]["uirevision"]
    assert first == later
    assert first != other


def test_the_view_opens_on_the_newest_candles_with_their_prices() -> None:
    old = [candle(minute, low=Decimal("1")) for minute in range(30)]
    layout = candlestick_figure([*old, *(candle(30 + minute) for minute in range(IN_VIEW))], MINUTES, DARK)["layout"]
    assert layout["xaxis"]["range"] == ["2026-03-02T14:59:00", "2026-03-02T17:03:00"]
    low, high = layout["yaxis"]["range"]
    assert 100 < low < 100.5 < 102.25 < high < 103
    assert layout["yaxis"]["side"] == "right"


def test_the_last_price_is_a_line_with_its_figure() -> None:
    layout = candlestick_figure([candle(0), candle(1, close="101.123")], MINUTES, DARK)["layout"]
    assert (layout["shapes"][0]["y0"], layout["annotations"][0]["text"]) == (101.123, "101.123")


def test_no_candle_is_an_empty_chart() -> None:
    figure = candlestick_figure([], Selection("AAPL", "1m", LAYERS), DARK)
    go.Figure(figure)
    assert {len(trace["x"]) for trace in figure["data"]} == {0}
    assert figure_end([], MINUTES, DARK) is None


@pytest.mark.parametrize("blue_orange", [False, True])
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_up_and_down_differ_in_every_palette(scheme: str, blue_orange: bool) -> None:
    chosen = colours(scheme, blue_orange)
    assert chosen.up != chosen.down
    assert chosen.up != colours(scheme, not blue_orange).up


def test_no_graph_offers_to_upload_itself() -> None:
    config = graph("any", {}).to_plotly_json()["props"]["config"]
    assert config["showSendToCloud"] is False
    assert config["displaylogo"] is False


def test_graphs_are_made_by_the_wrapper_only() -> None:
    for module in Path(include.dashboard.__file__).parent.rglob("*.py"):
        named = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Attribute)]
        made = any(node.attr == "Graph" for node in named)
        assert made == (module.name == "graph.py"), module
