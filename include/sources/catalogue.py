"""The instrument catalogue as it stands in config/instruments.yaml."""

from __future__ import annotations

from functools import cache

import yaml

from include.market.instrument import Catalogue, parse_catalogue
from include.settings import PROJECT_ROOT


@cache
def catalogue() -> Catalogue:
    """All known instruments, read once."""
    with (PROJECT_ROOT / "config" / "instruments.yaml").open(encoding="utf-8") as file:
        return parse_catalogue(yaml.safe_load(file))
