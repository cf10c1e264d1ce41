"""The API as the dashboard's server carries it: settings reach it, and the pages are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from include.settings import Settings
from include.web.__main__ import create_application
from tests.unit.api.test_requests import FIELDS

# Nothing listens on port 1: both stores refuse at once.
HERE = "http://127.0.0.1:8050"
NOWHERE = {
    "database_url": "postgresql+psycopg://reader:secret@127.0.0.1:1/financial_data",
    "redis_url": "redis://127.0.0.1:1",
}


def client_of(tmp_path: Path, **changes: object) -> TestClient:
    values = {**NOWHERE, "market": "sandbox", "pipeline_home": tmp_path, **changes}
    return TestClient(create_application(Settings.model_validate(values)), base_url=HERE)


@pytest.mark.parametrize("path", ["indicators/AAPL", "anomalies", "candles/AAPL", "events/AAPL", "quality"])
def test_every_reader_is_wired(tmp_path: Path, path: str) -> None:
    answer = client_of(tmp_path).get(f"/api/v1/{path}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_the_token_and_the_rate_come_from_the_settings(tmp_path: Path) -> None:
    client = client_of(tmp_path, api_token="of the operator", api_requests_per_minute=3)
    assert client.get("/api/v1/instruments").status_code == 401
    allowed = {"Authorization": "Bearer of the operator"}
    assert client.get("/api/v1/instruments", headers=allowed).status_code == 200
    assert client.post("/api/v1/instruments", headers=allowed).status_code == 405
    refused = client.get("/api/v1/instruments", headers=allowed)
    assert (refused.status_code, set(refused.json())) == (429, FIELDS)
    assert "content-security-policy" in refused.headers


def test_the_pages_need_no_token_and_take_any_parameter(tmp_path: Path) -> None:
    client = client_of(tmp_path, api_token="of the operator", api_requests_per_minute=1)
    for path in ("/?symbol=AAPL&anything=1", "/quality", "/_dash-layout", "/_dash-dependencies", "/api/v1/health"):
        for _ in range(2):
            answer = client.get(path)
            assert answer.status_code in (200, 503)
            assert "ratelimit" not in answer.headers


def test_the_refusals_of_the_api_are_the_same_on_the_whole_server(tmp_path: Path) -> None:
    client = client_of(tmp_path)
    for method, path, code in [
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/candles/AAPL", 405),
        ("GET", "/api/v1/candles/AAPL?intervall=5m", 422),
        ("GET", "/api/v1/candles/NOPE", 404),
    ]:
        answer = client.request(method, path)
        assert (answer.status_code, set(answer.json())) == (code, FIELDS)
