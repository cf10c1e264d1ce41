"""What the ingestion DAGs share: their form, their pools, when a failed poll is tried again, the poll itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pendulum
from airflow.sdk import ExceptionRetryPolicy, Param, RetryAction, RetryRule, get_current_context

from include.market.event import SOURCES, AssetClass, Source
from include.operators.forms import REFUSED_FORM, chosen_source, source_param, symbols_param
from include.operators.pools import pool_of
from include.settings import settings

#: The source whose pool a poll takes a slot of: the one that is asked first.
FIRST: dict[AssetClass, Source] = {"stock": "yahoo", "crypto": "binance"}


def ingestion_dag(asset_class: AssetClass) -> dict[str, Any]:
    """Arguments of the DAG: its schedule and its form."""
    chosen = settings()
    symbols = {"stock": chosen.stock_symbols, "crypto": chosen.crypto_symbols}[asset_class]
    return {
        "schedule": timedelta(seconds=chosen.ingestion_interval_seconds),
        "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
        "catchup": False,
        "max_active_runs": 1,
        "dagrun_timeout": timedelta(minutes=10),
        "tags": ["ingest", asset_class],
        "params": {
            "symbols": symbols_param(symbols, "configured"),
            "source": source_param(SOURCES),
            "dry_run": Param(
                False,
                type="boolean",
                title="Dry run",
                description="Asks and validates (the calls count), publishes nothing, remembers nothing.",
            ),
        },
    }


def ingestion_task(asset_class: AssetClass) -> dict[str, Any]:
    """Arguments of the polling task: its pool, and which failures another try can mend."""
    return {
        "pool": pool_of(FIRST[asset_class]),
        "priority_weight": 10,
        "execution_timeout": timedelta(minutes=5),
        "retries": 2,
        "retry_delay": timedelta(seconds=5),
        "retry_policy": ExceptionRetryPolicy(
            rules=[
                REFUSED_FORM,
                RetryRule(
                    exception="include.errors.SourceError",
                    action=RetryAction.FAIL,
                    reason="No source answered. The next run asks again, from the last published fact on.",
                ),
                RetryRule(
                    exception="include.errors.PublishError",
                    action=RetryAction.RETRY,
                    retry_delay=timedelta(seconds=15),
                    reason="The facts were not safe; nothing was marked as published.",
                ),
            ]
        ),
    }


def poll(asset_class: AssetClass) -> dict[str, Any]:
    """One poll as the run's form says; its report."""
    from include.operators.services import connected_settings
    from include.producers.crypto_producer import CryptoDataProducer
    from include.producers.stock_producer import StockDataProducer

    params: Mapping[str, Any] = get_current_context()["params"]
    source = chosen_source(params)
    chosen = connected_settings()
    with StockDataProducer(chosen) if asset_class == "stock" else CryptoDataProducer(chosen) as producer:
        return producer.run_once(params["symbols"], source, dry_run=bool(params["dry_run"])).as_dict()
