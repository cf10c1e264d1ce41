from __future__ import annotations

import pytest

from include.market.event import ASSET_CLASSES, Source
from include.settings import Settings
from include.sources.registry import PRIMARY, SOURCES, build_source


@pytest.mark.parametrize("name", SOURCES)
def test_every_registered_source_is_built_and_is_what_it_says(name: Source) -> None:
    source = build_source(name, Settings(), lambda: 0)
    assert source.declaration.name == name
    source.close()


def test_every_asset_class_has_a_source_that_serves_it() -> None:
    for asset_class in ASSET_CLASSES:
        source = build_source(PRIMARY[asset_class], Settings(), lambda: 0)
        assert asset_class in source.declaration.asset_classes
        source.close()
