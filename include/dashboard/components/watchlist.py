"""The list of instruments: price, change, course, age and source of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from dash import dcc, html

from include.dashboard.components.attributes import aria, data
from include.dashboard.components.sparkline import sparkline
from include.dashboard.formatting import NOT_KNOWN, age_text, change_of, price_text
from include.dashboard.selection import Selection
from include.market.instrument import Instrument
from include.storage.market_reads import Price


def watchlist(
    instruments: Sequence[Instrument],
    prices: Mapping[str, Price],
    courses: Mapping[str, Sequence[Decimal]],
    selection: Selection,
    now: datetime,
) -> html.Ul:
    """One link a row: the address it leads to selects the symbol and keeps the timeframe."""
    return html.Ul(
        className="watchlist",
        children=[
            _row(instrument, prices.get(instrument.symbol), courses.get(instrument.symbol, ()), selection, now)
            for instrument in instruments
        ],
    )


def _row(
    instrument: Instrument,
    price: Price | None,
    course: Sequence[Decimal],
    selection: Selection,
    now: datetime,
) -> html.Li:
    chosen = instrument.symbol == selection.symbol
    change = change_of(price.change_pct if price else None)
    marks = data(symbol=instrument.symbol) | (aria(current="true") if chosen else {})
    return html.Li(
        key=instrument.symbol,
        className="row chosen" if chosen else "row",
        **marks,
        children=dcc.Link(
            href=selection.href(symbol=instrument.symbol),
            className="row-link",
            children=[
                html.Span(
                    className="who",
                    children=[
                        html.Strong(instrument.symbol, className="symbol"),
                        html.Span(instrument.name, className="name"),
                    ],
                ),
                html.Span(
                    className="course",
                    children=[
                        sparkline(course),
                        html.Span(_origin(price, now), className="origin"),
                    ],
                ),
                html.Span(
                    className="quote",
                    children=[
                        _price(price),
                        html.Span(change.text, className=f"change {change.direction}", title=change.spoken),
                    ],
                ),
            ],
        ),
    )


def _price(price: Price | None) -> html.Span:
    if price is None:
        return html.Span(NOT_KNOWN, className="price", title="no price yet")
    exact = format(price.price, "f")
    title = f"{exact} {price.currency or ''}".strip()
    return html.Span(price_text(price.price), className="price", title=title, **data(price=exact))


def _origin(price: Price | None, now: datetime) -> list[Any]:
    if price is None:
        return ["no price yet"]
    # Text and age apart: the browser counts the age on.
    return [
        html.Span(price.source.replace("_", " "), className="source"),
        " · ",
        html.Span(
            age_text((now - price.as_of).total_seconds()),
            className="age",
            **data(at=str(int(price.as_of.timestamp() * 1000))),
        ),
    ]
