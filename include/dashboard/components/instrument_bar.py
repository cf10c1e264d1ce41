"""The line above the chart: what is shown, its price now, and the timeframes."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from include.dashboard.components.attributes import aria, data
from include.dashboard.formatting import NOT_KNOWN, change_of, price_text
from include.dashboard.selection import SHOWN_TIMEFRAMES, Selection
from include.market.instrument import Instrument
from include.storage.market_reads import Price


def instrument_bar(instrument: Instrument, price: Price | None, selection: Selection) -> list[Any]:
    """Symbol, name, price and change, then one link a timeframe."""
    change = change_of(price.change_pct if price else None)
    currency = price.currency if price and price.currency else ""
    return [
        html.Div(
            className="instrument",
            children=[
                html.H1([instrument.symbol, html.Span(instrument.name, className="name")]),
                html.P(
                    className="now",
                    children=[
                        html.Span(price_text(price.price) if price else NOT_KNOWN, className="price"),
                        html.Span(currency, className="currency"),
                        html.Span(change.text, className=f"change {change.direction}", title=change.spoken),
                        html.Span(id="session", className="session", **data(market=instrument.asset_class)),
                    ],
                    **data(symbol=instrument.symbol),
                ),
            ],
        ),
        html.Nav(
            className="timeframes",
            **aria(label="Timeframe"),
            children=[_timeframe(each, selection) for each in SHOWN_TIMEFRAMES],
        ),
    ]


def _timeframe(timeframe: Any, selection: Selection) -> html.Span:
    chosen = timeframe == selection.timeframe
    link = dcc.Link(timeframe, href=selection.href(timeframe=timeframe), className="timeframe")
    marks = aria(current="true") if chosen else {}
    return html.Span(link, className="chosen" if chosen else "", **marks, **data(timeframe=timeframe))
