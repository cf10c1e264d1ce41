"""The operator's token: asked for on every route but health, and told to nobody."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from tests.unit.api.test_requests import FIELDS, PATHS
from tests.unit.api.whole import client_of

TOKEN = "a-token-of-the-operator"
GUARDED = {name: path for name, path in PATHS.items() if name != "health"}


@pytest.fixture(scope="module")
def client() -> TestClient:
    return client_of(token=SecretStr(TOKEN))


@pytest.mark.parametrize("path", [*GUARDED.values(), "/api/v1/nothing", "/api/v1/candles/NOPE"])
def test_nothing_is_answered_without_it(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) == FIELDS
    assert TOKEN not in answer.text


@pytest.mark.parametrize("path", GUARDED.values(), ids=GUARDED)
def test_all_is_answered_with_it(client: TestClient, path: str) -> None:
    assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    "said", ["Bearer", "Bearer ", "Bearer x", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN]
)
def test_another_token_is_refused(client: TestClient, said: str) -> None:
    assert client.get(PATHS["prices"], headers={"Authorization": said}).status_code == 401


def test_a_wrong_token_is_told_apart_from_none(client: TestClient) -> None:
    answer = client.get(PATHS["prices"], headers={"Authorization": "Bearer wrong"})
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_may_have_any_letters() -> None:
    client = client_of(token=SecretStr("schlüssel"))
    right, wrong = (f"Bearer {word}".encode() for word in ("schlüssel", "schlussel"))
    assert client.get(PATHS["prices"], headers={"Authorization": right}).status_code == 200
    assert client.get(PATHS["prices"], headers={"Authorization": wrong}).status_code == 401


def test_supervision_needs_none_and_neither_does_the_documentation(client: TestClient) -> None:
    for path in (PATHS["health"], "/api/docs", "/api/openapi.json"):
        assert client.get(path).status_code == 200


def test_the_token_comes_before_what_is_wrong_with_the_question(client: TestClient) -> None:
    assert client.get("/api/v1/candles/AAPL?intervall=1").status_code == 401


@pytest.mark.parametrize(("token", "ways"), [(SecretStr(TOKEN), [{"token": []}]), (None, [{"token": []}, {}])])
def test_openapi_declares_it(token: SecretStr | None, ways: list[object]) -> None:
    document = client_of(token=token).get("/api/openapi.json").json()
    scheme = document["components"]["securitySchemes"]["token"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, methods in document["paths"].items():
        assert methods["get"].get("security") == (None if path == PATHS["health"] else ways)
        if path != PATHS["health"]:
            assert {"401", "422", "429"} <= set(methods["get"]["responses"])
