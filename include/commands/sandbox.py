"""`./pipeline sandbox`: make the stand-in for the sources fail on request, and see what it was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import httpx2
import typer
from rich.table import Table

from include.commands.console import one_line_errors, out
from include.errors import MarketDataError
from include.settings import settings

app = typer.Typer(
    help="The stand-in for the sources: faults on request, and the calls that it got.", no_args_is_help=True
)
PATIENCE_SECONDS = 10.0
UNITS = {"s": 1, "m": 60, "h": 3600}
NEWEST_CALLS = 50


def ask(method: str, path: str, **request: Any) -> Any:
    """The sandbox's answer to one question. Raises MarketDataError, one line, where there is none to ask."""
    market = settings().market
    if market not in ("sandbox", "replay"):
        stated = "is not set" if market is None else f"={market} asks the real sources"
        raise MarketDataError(
            f"MARKET{' ' if market is None else ''}{stated}: start a sandbox with ./pipeline up --market sandbox"
        )
    url = f"http://127.0.0.1:{settings().ports.sandbox}/sandbox{path}"
    try:
        answer = httpx2.request(method, url, timeout=PATIENCE_SECONDS, **request)
    except httpx2.HTTPError as error:
        raise MarketDataError(f"the sandbox does not answer ({error}): is the stack up? ./pipeline status") from None
    if answer.is_error:
        raise MarketDataError(str(_document(answer).get("detail", f"the sandbox answered {answer.status_code}")))
    return _document(answer)


def _document(answer: httpx2.Response) -> Mapping[str, Any]:
    try:
        document: Mapping[str, Any] = answer.json()
    except ValueError:
        raise MarketDataError(f"what answers at {answer.url} is no sandbox") from None
    return document


def seconds_of(text: str) -> float:
    """`90`, `90s`, `5m` or `2h` in seconds. Raises MarketDataError for anything else."""
    parts = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh]?)", text)
    if parts is None or not float(parts[1]):
        raise MarketDataError(f"--for {text}: it takes a time such as 90s, 5m or 2h")
    return float(parts[1]) * UNITS[parts[2] or "s"]


@app.command()
def fault(
    source: Annotated[str, typer.Argument(help="yahoo, alpha_vantage, binance or coingecko")],
    name: Annotated[str, typer.Argument(help="a fault of that source: ./pipeline sandbox faults lists them")],
    symbol: Annotated[str | None, typer.Option(help="only calls about this symbol, such as BTC-USD")] = None,
    duration: Annotated[str | None, typer.Option("--for", help="how long: 90s, 5m, 2h")] = None,
    calls: Annotated[int | None, typer.Option(help="how many calls meet it")] = None,
    after: Annotated[int, typer.Option(help="calls that are answered well before it begins")] = 0,
    path: Annotated[str | None, typer.Option(help="only calls whose path or query holds this")] = None,
) -> None:
    """Start a fault; without --for and --calls it lasts until it is cleared."""
    with one_line_errors():
        seconds = None if duration is None else seconds_of(duration)
        wanted = {"source": source, "name": name, "symbol": symbol, "path": path, "seconds": seconds, "calls": calls}
        given = {key: value for key, value in wanted.items() if value is not None}
        started = ask("POST", "/faults", json=given | {"after": after})
    end = f"until {started['until']}" if started["until"] else "until it is cleared"
    limit = f", for {calls} calls" if calls else ""
    out.print(f"fault {started['id']}: {source} {name}, {end}{limit}: {started['line']}", markup=False, highlight=False)


@app.command()
def faults() -> None:
    """The active faults, and all that can be asked for."""
    with one_line_errors():
        found = ask("GET", "/faults")
    active = Table("id", "source", "fault", "symbol", "path", "until", "calls", "met", box=None, pad_edge=False)
    for row in found["active"]:
        cells = (row[key] for key in ("id", "source", "name", "symbol", "path", "until", "calls", "hits"))
        active.add_row(*("-" if cell in (None, "") else str(cell) for cell in cells))
    out.print(active if found["active"] else "no fault is active")
    known = Table("source", "fault", "what a caller sees", box=None, pad_edge=False)
    for source, kinds in found["known"].items():
        for name, line in kinds.items():
            known.add_row(source, name, line)
    out.print()
    out.print(known)


@app.command()
def clear(id_: Annotated[int | None, typer.Argument(metavar="[ID]", help="one fault; without it, all")] = None) -> None:
    """End a fault, or all of them."""
    with one_line_errors():
        ended = ask("DELETE", "/faults" if id_ is None else f"/faults/{id_}")["ended"]
    out.print(f"{ended} ended", highlight=False)


@app.command()
def calls(
    source: Annotated[str | None, typer.Option(help="only calls of this source")] = None,
    since: Annotated[str | None, typer.Option(help="only calls from this time on, ISO 8601")] = None,
) -> None:
    """What the sandbox was asked: totals by source, and the newest calls."""
    given = {key: value for key, value in {"source": source, "since": since}.items() if value is not None}
    with one_line_errors():
        found = ask("GET", "/calls", params=given)
    totals = Table("source", "calls", "cost", "while banned", "over a limit", box=None, pad_edge=False)
    for name, counts in found["totals"].items():
        figures = (counts[key] for key in ("calls", "cost", "calls_while_banned", "calls_over_limit"))
        totals.add_row(name, *map(str, figures))
    out.print(totals)
    newest = Table("time", "source", "status", "cost", "fault", "call", box=None, pad_edge=False)
    for call in found["calls"][-NEWEST_CALLS:]:
        asked = f"{call['path']}?{call['query']}" if call["query"] else call["path"]
        status = str(call["status"] or "none")
        newest.add_row(call["time"], call["source"], status, str(call["cost"]), call["fault"] or "-", asked)
    out.print()
    out.print(newest)
