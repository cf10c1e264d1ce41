"""What the stock and the crypto producer share: the parts from the settings, one batch at a time."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from include.market.event import AssetClass
from include.market.instrument import Instrument
from include.producers.ingestion import Ingestion, system_clock
from include.producers.publisher import KafkaPublisher, Publisher
from include.producers.report import IngestionReport
from include.producers.watermarks import Watermarks
from include.settings import Settings, required, settings
from include.sources.base import Clock, PriceSource
from include.sources.catalogue import catalogue
from include.sources.registry import PRIMARY, build_source


class MarketProducer:
    """Fetches, validates and publishes one asset class; what is not passed in comes from the settings,
    at the first batch that needs it."""

    asset_class: AssetClass

    def __init__(
        self,
        configuration: Settings | None = None,
        source: PriceSource | None = None,
        publisher: Publisher | None = None,
        watermarks: Watermarks | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._configuration = configuration
        self._source = source
        self._publisher = publisher
        self._watermarks = watermarks
        self._clock = clock

    def run_once(self) -> IngestionReport:
        """One batch. Raises SettingsError for a setting that cannot be used, PublishError where Kafka
        did not confirm everything, and a SourceError where the source gave nothing for any symbol."""
        configuration = self._configuration or settings()
        instruments = self._instruments(configuration)
        if not instruments:
            return IngestionReport(self.asset_class)
        if self._source is None:
            self._source = build_source(PRIMARY[self.asset_class], configuration, self._clock)
        if self._publisher is None:
            servers = required(configuration.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
            self._publisher = KafkaPublisher(servers)
        if self._watermarks is None:
            self._watermarks = _stored_watermarks(configuration)
        ingestion = Ingestion(
            self._source,
            self._publisher,
            self._watermarks,
            configuration.initial_lookback_minutes,
            self._clock,
        )
        return IngestionReport(self.asset_class, (ingestion.run(instruments),))

    def close(self) -> None:
        """Closes the parts, passed in or not."""
        for part in (self._source, self._publisher, self._watermarks):
            if part is not None:
                part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _instruments(self, configuration: Settings) -> list[Instrument]:
        symbols = {"stock": configuration.stock_symbols, "crypto": configuration.crypto_symbols}
        name = f"{self.asset_class.upper()}_SYMBOLS"
        return catalogue().select(name, symbols[self.asset_class], self.asset_class)


def _stored_watermarks(configuration: Settings) -> Watermarks:
    # Here and not at the top: a batch with watermarks of its own needs no database client.
    from include.storage.watermarks import PostgresWatermarks

    url = configuration.writer_database_url or configuration.database_url
    return PostgresWatermarks(required(url, "DATABASE_URL"))
