"""Our own sources ask the stand-in: what it says must be what they read."""

from __future__ import annotations

from starlette.testclient import TestClient

from include.sandbox.market import Market
from include.sources.base import Answer, FetchResult, PriceSource, Want
from include.sources.catalogue import catalogue
from tests.unit.sandbox.conftest import NOW, client


def ask(market: Market, source: PriceSource, want: Want, symbol: str, *, since: int = 0, now: int = NOW) -> FetchResult:
    """One instrument's answer; times in epoch seconds. Raises the SourceError tree."""
    return ask_server(client(market, now), source, want, symbol, since=since, now=now)


def ask_server(
    server: TestClient, source: PriceSource, want: Want, symbol: str, *, since: int = 0, now: int = NOW
) -> FetchResult:
    """The same of a server that has faults."""
    instrument = catalogue().get(symbol)
    (question,) = source.questions(want, [instrument], {symbol: since * 1_000_000}, now * 1_000_000)
    response = server.get(
        f"/{source.declaration.name}{question.path}",
        params={**question.params, **question.secret_params},
        headers=dict(question.secret_headers),
    )
    headers = {name.lower(): value for name, value in response.headers.items() if name.lower() != "date"}
    answer = Answer(response.status_code, headers, response.content)
    refused = source.refusal(answer, now * 1_000_000)
    if refused is not None:
        raise refused
    return source.read(question, answer, now * 1_000_000)
