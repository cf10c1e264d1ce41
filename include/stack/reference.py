"""`python -m include.stack.reference`: instruments, trading hours and the coming days' partitions as they should be."""

from __future__ import annotations

from datetime import UTC, datetime

from include.operations.retention import make_partitions_ahead
from include.settings import Settings, required, settings
from include.sources.catalogue import catalogue
from include.storage.reference import refresh_reference


def bring_up_to_date(chosen: Settings) -> None:
    """After the migrations, as the owner. Safe to call at every start. Raises psycopg.Error."""
    url = required(chosen.database_url, "DATABASE_URL")
    collected = (*chosen.stock_symbols, *chosen.crypto_symbols)
    refresh_reference(url, chosen.market or "sandbox", catalogue(), collected)
    make_partitions_ahead(url, datetime.now(UTC).date())


def main() -> None:
    bring_up_to_date(settings())
    print(f"reference: as of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")


if __name__ == "__main__":
    main()
