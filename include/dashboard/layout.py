"""What all pages share: the header with the ways to the other pages, and the place where the page goes."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc  # type: ignore[import-untyped]
from dash import dcc, html

from include.dashboard.components.attributes import aria
from include.dashboard.components.notice import notice
from include.dashboard.selection import OPERATIONS_PATH, QUALITY_PATH

TITLE = "Market Data Platform"
REFRESH_MS = 5_000
_TICK_MS = 1_000
#: Address and name of each page, as the header shows them.
PAGES = {"/": "Market", QUALITY_PATH: "Quality", OPERATIONS_PATH: "Operations"}
_MARKETS = {
    "live": "Prices from the public market sources",
    "sandbox": "A simulated market: these prices were never traded",
    "replay": "Recorded market days, played as if they were today",
}


def shell(market: str) -> Any:
    """The whole layout but for the page itself. What the reader chose is kept by the browser, what is shown by the
    address."""
    return dmc.MantineProvider(
        defaultColorScheme="auto",
        children=html.Div(
            id="shell",
            className="shell",
            children=[
                dcc.Location(id="url", refresh=False),
                dcc.Interval(id="refresh", interval=REFRESH_MS),
                dcc.Interval(id="tick", interval=_TICK_MS),
                dcc.Store(id="appearance"),
                dcc.Store(id="page-title"),
                _header(market),
                html.Main(notice("Loading the page", "one moment"), id="page"),
            ],
        ),
    )


def navigation(path: str) -> list[Any]:
    """The links of the header; a page of its own each, so that none inherits the other's state."""
    return [
        html.A(name, href=address, className="page-link", **(aria(current="page") if address == path else {}))
        for address, name in PAGES.items()
    ]


def clock(id: str) -> html.Span:
    """A page's clock for the header: how old is what it shows."""
    return html.Span(
        "Connecting", id=id, className="freshness waiting", role="status", title="waiting for the first answer"
    )


def _header(market: str) -> html.Header:
    return html.Header(
        className="header",
        children=[
            html.Div(
                [html.Span(className="mark", **aria(hidden="true")), html.Strong(TITLE)],
                className="brand",
            ),
            html.Nav(navigation(""), id="pages", className="pages", **aria(label="Pages")),
            html.Span(market.upper(), className=f"market {market}", title=_MARKETS[market]),
            html.Span(id="page-clock"),
            html.Div(
                className="choices",
                children=[
                    dmc.Switch(
                        id="blue-orange",
                        label="Blue / orange",
                        size="xs",
                        persistence=True,
                        persistence_type="local",
                        className="palette",
                    ),
                    dmc.ColorSchemeToggle(
                        id="scheme",
                        lightIcon="☀",
                        darkIcon="☾",
                        variant="subtle",
                        color="gray",
                        size="md",
                        **aria(label="Switch between dark and light"),
                    ),
                    html.A("API", href="/api/docs", className="api-link"),
                ],
            ),
        ],
    )
