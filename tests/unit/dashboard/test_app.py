"""The whole application, put together as it is started, with no store behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from include.errors import SettingsError
from include.settings import Settings
from include.web.__main__ import create_application

# Nothing listens on port 1: both stores refuse at once.
NOWHERE = {
    "database_url": "postgresql+psycopg://reader:secret@127.0.0.1:1/financial_data",
    "redis_url": "redis://127.0.0.1:1",
}
#: Under another name nothing is answered.
HERE = "http://127.0.0.1:8050"


def chosen(tmp_path: Path, **changes: object) -> Settings:
    values = {
        "market": "sandbox",
        "pipeline_home": tmp_path,
        "pipeline_port_offset": 100,
        **NOWHERE,
        **changes,
    }
    return Settings.model_validate(values)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(create_application(chosen(tmp_path)), base_url=HERE) as client:
        yield client


@pytest.mark.parametrize("address", ["/?symbol=AAPL", "/quality?run=newest"])
def test_the_pages_come_up_without_their_stores(client: TestClient, address: str) -> None:
    page = client.get(address)
    assert page.status_code == 200
    assert '<html lang="en">' in page.text
    layout = client.get("/_dash-layout").text
    assert "SANDBOX" in layout


def test_every_file_of_the_page_is_our_own(client: TestClient) -> None:
    page = client.get("/").text
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) > 5
    assert [address for address in addresses if not address.startswith("/")] == []
    assert [address for address in addresses if client.get(address).status_code != 200] == []


def test_only_our_airflow_may_frame_it_and_only_our_scripts_run(client: TestClient) -> None:
    for address in ("/", "/quality", "/api/v1/instruments", "/api/docs"):
        policy = client.get(address).headers["content-security-policy"]
        rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
        assert rules["frame-ancestors"] == "'self' http://127.0.0.1:8180 http://localhost:8180"
        assert "unsafe" not in rules["script-src"]
        assert rules["connect-src"] == "'self'"


def test_health_says_that_both_stores_are_down_without_the_password(client: TestClient) -> None:
    answer = client.get("/api/v1/health")
    assert answer.status_code == 503
    assert (answer.json()["database"], answer.json()["redis"]) == ("down", "down")
    assert "secret" not in answer.text


@pytest.mark.parametrize("address", ["/nothing/here", "/quality/more", "/quality.php"])
def test_a_wrong_address_is_404_with_a_problem(client: TestClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"no such page: {address}"


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"market": None}, "MARKET"),
        ({"database_url": None}, "DATABASE_URL"),
        ({"redis_url": None}, "REDIS_URL"),
        ({"stock_symbols": (), "crypto_symbols": ()}, "STOCK_SYMBOLS"),
        ({"stock_symbols": ("NOPE",)}, "NOPE"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, changes: dict[str, object], names: str) -> None:
    with pytest.raises(SettingsError, match=names):
        create_application(chosen(tmp_path, **changes))


def test_under_a_foreign_name_nothing_is_answered(tmp_path: Path) -> None:
    application = create_application(chosen(tmp_path, dashboard_url="https://market.example:8443"))
    with TestClient(application, base_url=HERE) as client:
        answers = {
            name: client.get("/api/v1/instruments", headers={"host": name}).status_code
            for name in ("localhost:8050", "market.example", "127.0.0.1.nip.example", "evil.example:8050")
        }
    assert answers == {
        "localhost:8050": 200,
        "market.example": 200,
        "127.0.0.1.nip.example": 400,
        "evil.example:8050": 400,
    }


def test_what_a_page_asks_has_a_length_that_is_said_and_bounded(client: TestClient) -> None:
    asked = "/_dash-update-component"
    assert client.post(asked, content=b" " * 600_000).status_code == 413
    assert client.post(asked, content=iter([b"{}"])).status_code == 411
