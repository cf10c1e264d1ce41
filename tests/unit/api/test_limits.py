"""The rate of one address: counted from its first question, told in each answer, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from include.api.limits import RateLimit
from tests.unit.api.test_requests import FIELDS, PATHS
from tests.unit.api.whole import client_of


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def asker(limit: RateLimit) -> Callable[..., tuple[int, dict[str, str]]]:
    def ask(address: str = "192.0.2.1", path: str = PATHS["prices"]) -> tuple[int, dict[str, str]]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request"}

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        asyncio.run(
            limit({**scope, "client": (address, 1), "server": ("testserver", 80), "scheme": "http"}, receive, send)
        )
        return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}

    return ask


def test_what_is_over_the_limit_is_429_until_the_minute_is_over() -> None:
    clock = Clock()
    ask = asker(RateLimit(_answer, 3, clock))
    codes = []
    for _ in range(5):
        codes.append(ask()[0])
        clock.now += 10
    assert codes == [200, 200, 200, 429, 429]
    _, headers = ask()
    assert headers["retry-after"] == "10"
    clock.now += 9.9
    assert ask()[0] == 429
    clock.now += 0.1
    code, headers = ask()
    assert (code, headers["ratelimit"]) == (200, '"address";r=2;t=60')


def test_every_answer_says_what_is_left() -> None:
    clock = Clock()
    ask = asker(RateLimit(_answer, 2, clock))
    seen = []
    for _ in range(3):
        _, headers = ask()
        assert headers["ratelimit-policy"] == '"address";q=2;w=60'
        seen.append(headers["ratelimit"])
        clock.now += 15.5
    assert seen == ['"address";r=1;t=60', '"address";r=0;t=45', '"address";r=0;t=29']


def test_each_address_has_its_own() -> None:
    ask = asker(RateLimit(_answer, 1, Clock()))
    assert [ask(f"192.0.2.{n}")[0] for n in (1, 2, 1, 2, 3)] == [200, 200, 429, 429, 200]


def test_pages_and_supervision_are_not_counted() -> None:
    ask = asker(RateLimit(_answer, 1, Clock()))
    assert ask()[0] == 200
    assert ask()[0] == 429
    for path in ("/", "/_dash-update-component", "/live", "/assets/mark.svg", PATHS["health"]):
        code, headers = ask(path=path)
        assert (code, "ratelimit" in headers) == (200, False)


def test_memory_is_bounded_and_what_is_over_is_forgotten() -> None:
    clock = Clock()
    limit = RateLimit(_answer, 1, clock, max_clients=50)
    ask = asker(limit)
    for n in range(200):
        ask(f"2001:db8::{n:x}")
        assert len(limit._windows) <= 50
    # The newest are remembered.
    assert ask("2001:db8::c7")[0] == 429
    clock.now += 60
    ask()
    assert len(limit._windows) == 1


def test_the_application_limits_and_says_so_as_a_problem() -> None:
    client: TestClient = client_of(requests_per_minute=2)
    for _ in range(2):
        assert client.get(PATHS["candles"]).status_code == 200
    answer = client.get(PATHS["candles"])
    assert (answer.status_code, answer.headers["content-type"]) == (429, "application/problem+json")
    assert set(answer.json()) == FIELDS
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert client.get(PATHS["health"]).status_code == 200
    assert client.get("/api/docs").status_code == 429


def test_without_a_limit_nobody_is_counted() -> None:
    assert "ratelimit" not in client_of().get(PATHS["prices"]).headers
