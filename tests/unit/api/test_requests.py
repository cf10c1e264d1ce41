"""What is the same for every route: unknown parameters, sizes, methods, entity tags, and faults of ours."""

from __future__ import annotations

from datetime import datetime

import pytest
from fastapi.testclient import TestClient

from include.api import limits
from include.storage.market_reads import _next_window
from tests.unit.api.whole import client_of, whole_api
from tests.unit.dashboard.twins import INSTRUMENTS, MemoryAnomalies, MemoryIndicators, MemoryReader, candle

FIELDS = {"type", "title", "status", "detail", "instance"}
PATHS = {
    "health": "/api/v1/health",
    "instruments": "/api/v1/instruments",
    "prices": "/api/v1/prices",
    "candles": "/api/v1/candles/AAPL",
    "indicators": "/api/v1/indicators/AAPL",
    "anomalies": "/api/v1/anomalies",
    "events": "/api/v1/events/AAPL?start=2026-03-02T13:30:00Z&end=2026-03-02T15:00:00Z",
    "quality": "/api/v1/quality",
    "lineage": "/api/v1/lineage/AAPL/2026-03-02T14:30:00Z",
}


@pytest.fixture(scope="module")
def client() -> TestClient:
    return client_of()


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_an_unknown_parameter_is_refused_by_name(client: TestClient, path: str) -> None:
    answer = client.get(f"{path}{'&' if '?' in path else '?'}intervall=5m")
    assert (answer.status_code, set(answer.json())) == (422, FIELDS)
    assert answer.json()["detail"].startswith("intervall: no such parameter")


def test_what_may_have_been_meant_is_said(client: TestClient) -> None:
    detail = client.get("/api/v1/candles/AAPL?intervall=5m").json()["detail"]
    assert "interval may be meant; there are interval, start, end, limit, format, cursor, as_of" in detail
    assert "takes none" in client.get("/api/v1/prices?symbol=AAPL").json()["detail"]


def test_a_parameter_that_is_given_twice_is_refused(client: TestClient) -> None:
    answer = client.get("/api/v1/candles/AAPL?limit=1&limit=2")
    assert (answer.status_code, answer.json()["detail"]) == (422, "limit: given more than once")


def test_an_address_that_is_not_there_is_404_whatever_its_parameters(client: TestClient) -> None:
    answer = client.get("/api/v1/candels/AAPL?limit=1")
    assert (answer.status_code, set(answer.json())) == (404, FIELDS)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", [PATHS["candles"], PATHS["prices"], "/api/v1/nothing"])
def test_other_methods_are_405(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == f"{method} is not answered here; GET is"


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [
        (f"/api/v1/candles/{'A' * 500}", 414, "path"),
        (f"/api/v1/candles/AAPL?as_of={'1' * 2_000}", 414, "query"),
    ],
)
def test_an_address_that_is_too_long_is_refused(client: TestClient, path: str, code: int, says: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, set(answer.json())) == (code, FIELDS)
    assert says in answer.json()["detail"]


def test_a_question_has_no_body(client: TestClient) -> None:
    assert client.request("GET", PATHS["prices"], content=b"x" * limits.MAX_BODY).status_code == 200
    answer = client.request("GET", PATHS["prices"], content=b"x" * (limits.MAX_BODY + 1))
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")


@pytest.mark.parametrize("name", ["candles", "indicators", "anomalies"])
@pytest.mark.parametrize(
    ("bounds", "code"),
    [
        ("start=0001-01-01T00:00:00%2B05:00", 422),
        ("end=9999-12-31T23:59:59-05:00", 422),
        ("start=0001-01-01T00:00:00Z&end=9999-12-31T23:59:59.999999Z", 200),
        ("start=2026-03-02&end=2026-03-02", 422),
        ("start=0000-01-01", 422),
        ("end=10000-01-01", 422),
        ("start=1e400", 422),
    ],
)
def test_the_calendars_ends_are_never_a_fault_of_ours(client: TestClient, name: str, bounds: str, code: int) -> None:
    answer = client.get(f"{PATHS[name]}?{bounds}")
    assert answer.status_code == code
    if code == 422:
        assert answer.json()["detail"].split(":")[0] in ("start", "end")


def test_the_last_window_of_the_calendar_is_no_error() -> None:
    last = datetime.fromisoformat("9999-12-31T23:59:59.999999+00:00")
    assert _next_window(last, "1d") == last


@pytest.mark.parametrize("name", ["indicators", "anomalies"])
def test_an_outage_is_503(name: str) -> None:
    stores = {"indicators": MemoryIndicators(), "anomalies": MemoryAnomalies()}
    stores[name].up = False
    answer = client_of(**stores).get(PATHS[name])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/api/v1/indicators/NOPE", "/api/v1/anomalies?symbol=NOPE", "/api/v1/events/NOPE"])
def test_an_unknown_symbol_is_404(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, set(answer.json())) == (404, FIELDS)
    assert answer.json()["detail"] == "NOPE is not collected here; /api/v1/instruments lists what is"


def test_a_fault_of_ours_is_a_problem_too_and_says_nothing_of_our_insides() -> None:
    class Broken(MemoryReader):
        def candles(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
            raise RuntimeError("the password is secret")

    client = TestClient(whole_api(reader=Broken()), raise_server_exceptions=False)
    answer = client.get(PATHS["candles"])
    assert (answer.status_code, set(answer.json())) == (500, FIELDS)
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_who_has_the_answer_gets_it_not_again(client: TestClient, path: str) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    assert tag.startswith('"')
    assert first.headers["cache-control"] == "no-cache"
    for said in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = client.get(path, headers={"If-None-Match": said})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert "content-type" not in again.headers
    assert client.get(path, headers={"If-None-Match": '"another"'}).content == first.content


def test_the_tag_changes_with_the_answer_and_with_its_format() -> None:
    reader = MemoryReader([candle(0)])
    client = client_of(reader=reader)
    tags = [client.get(f"{PATHS['candles']}?format={format}").headers["etag"] for format in ("json", "csv", "parquet")]
    assert len(set(tags)) == 3
    assert client.get(f"{PATHS['candles']}?format=parquet").headers["etag"] == tags[2]
    reader.held[0] = candle(0, close="101.51")
    fresh = client.get(f"{PATHS['candles']}?format=parquet", headers={"If-None-Match": tags[2]})
    assert (fresh.status_code, fresh.content[:4]) == (200, b"PAR1")


def test_a_next_page_is_named_on_a_304_too(client: TestClient) -> None:
    first = client.get(f"{PATHS['candles']}?limit=2")
    again = client.get(f"{PATHS['candles']}?limit=2", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.headers["link"]) == (304, first.headers["link"])


def test_an_error_has_no_tag_and_is_not_kept(client: TestClient) -> None:
    answer = client.get("/api/v1/candles/NOPE", headers={"If-None-Match": "*"})
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert "etag" not in answer.headers


def test_the_same_answer_has_the_same_tag_after_a_restart() -> None:
    first, second = (client_of(instruments=INSTRUMENTS).get(PATHS["candles"]).headers["etag"] for _ in range(2))
    assert first == second
