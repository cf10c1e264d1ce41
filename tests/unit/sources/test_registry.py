from __future__ import annotations

import pytest

from include.market.event import ASSET_CLASSES, SOURCES, Source
from include.settings import Settings
from include.sources.base import MINUTE_BARS, QUOTES, Want
from include.sources.gate import OpenGate
from include.sources.registry import base_url, build_client, build_source, chain

KEYS = {"alpha_vantage_api_key": "k", "alpha_vantage_plan": "realtime"}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_built_and_is_what_it_says(name: Source) -> None:
    config = Settings()
    client = build_client(name, config, OpenGate(), lambda: 0)
    assert client.name == build_source(name, config).declaration.name == name
    client.close()


@pytest.mark.parametrize("name", SOURCES)
def test_every_rate_that_is_declared_is_a_setting(name: Source) -> None:
    declaration = build_source(name, Settings()).declaration
    assert {rate.setting for rate in declaration.rates} <= Settings.model_fields.keys()
    assert base_url(declaration, Settings()).rstrip("/") == declaration.base_url


@pytest.mark.parametrize("asset_class", ASSET_CLASSES)
def test_quotes_of_every_asset_class_have_a_source_and_a_second_one(asset_class: str) -> None:
    names = [source.declaration.name for source, _ in chain(asset_class, QUOTES, Settings(**KEYS))]  # type: ignore[arg-type]
    assert len(names) >= 2
    assert names == sorted(names, key=SOURCES.index)


@pytest.mark.parametrize(
    ("given", "want", "expected"),
    [
        ({}, MINUTE_BARS, ["yahoo"]),
        ({"alpha_vantage_api_key": "k"}, MINUTE_BARS, ["yahoo"]),
        (KEYS, MINUTE_BARS, ["yahoo", "alpha_vantage"]),
        ({"alpha_vantage_api_key": "k"}, QUOTES, ["yahoo", "alpha_vantage"]),
    ],
)
def test_who_can_give_what_goes_by_key_and_plan(given: dict[str, str], want: Want, expected: list[str]) -> None:
    config = Settings(**given)  # type: ignore[arg-type]
    assert [source.declaration.name for source, _ in chain("stock", want, config)] == expected
