"""Airflow's pools: one a source, so that polls, backfills and repairs of one source never crowd it together."""

from __future__ import annotations

from include.market.event import SOURCES, Source

#: Tasks that may use one source at a time; the source's own quota is counted call by call besides.
SLOTS = 2


def pool_of(source: Source) -> str:
    """The pool's name."""
    return f"source_{source}"


def pools() -> dict[str, dict[str, object]]:
    """As `airflow pools import` reads them."""
    return {
        pool_of(source): {"slots": SLOTS, "description": f"Tasks that ask {source}", "include_deferred": False}
        for source in SOURCES
    }


if __name__ == "__main__":
    import json

    print(json.dumps(pools()))
