"""What the stock and the crypto producer share: the parts from the settings, one poll at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Self

from include.errors import SettingsError
from include.market.calendar import is_open
from include.market.event import MICROSECONDS, AssetClass, Source
from include.market.instrument import Instrument
from include.producers.failover import Candidate, MemorySwitchboard, SourceChain, Switchboard
from include.producers.ingestion import Ingestion, system_clock
from include.producers.poll import Rules
from include.producers.progress import NoTrades, Progress, TradedMinutes
from include.producers.publisher import KafkaPublisher, ListPublisher, Publisher
from include.producers.report import IngestionReport
from include.producers.watermarks import FrozenWatermarks, Watermarks
from include.settings import Settings, required, settings
from include.sources.base import DAILY_BARS, MINUTE_BARS, MINUTE_US, QUOTES, Clock, Want
from include.sources.catalogue import catalogue
from include.sources.client import SourceClient
from include.sources.gate import Gate
from include.sources.registry import build_client, chain, declarations

#: What is asked for, in this order: an answer with bars may carry the prices.
WANTS: dict[AssetClass, tuple[Want, ...]] = {
    "stock": (MINUTE_BARS, QUOTES, DAILY_BARS),
    "crypto": (MINUTE_BARS, QUOTES),
}


@dataclass(frozen=True, slots=True)
class Parts:
    """The shared state and the ends that a producer works with."""

    gate: Gate
    board: Switchboard
    publisher: Publisher
    watermarks: Watermarks
    #: As it stands when it is called: once a poll.
    minutes: Callable[[], TradedMinutes]

    def without_effect(self) -> Parts:
        """For a dry run: sources are asked, and their quotas counted; nothing is published or remembered."""
        return replace(
            self,
            board=MemorySwitchboard(),
            publisher=ListPublisher(),
            watermarks=FrozenWatermarks(self.watermarks),
        )

    def close(self) -> None:
        for part in (self.publisher, self.watermarks, self.gate, self.board):
            part.close()


class MarketProducer:
    """Fetches, validates and publishes one asset class; what is not passed in comes from the settings,
    at the first poll that needs it."""

    asset_class: AssetClass

    def __init__(
        self, configuration: Settings | None = None, parts: Parts | None = None, clock: Clock = system_clock
    ) -> None:
        self._configuration = configuration
        self._parts = parts
        self._clock = clock
        self._clients: dict[Source, SourceClient] = {}

    def run_once(
        self, symbols: Iterable[str] = (), source: str | None = None, *, dry_run: bool = False
    ) -> IngestionReport:
        """One poll of the configured symbols, or of those of them that are named; from whichever source
        serves, or from the one that is named. A dry run asks and judges, and publishes nothing.

        Raises SettingsError for a setting or a name that cannot be used, PublishError where the facts are
        not safe, and a SourceError where no source gave anything for any symbol.
        """
        configuration = self._configuration or settings()
        instruments = self._instruments(configuration, tuple(symbols))
        if not instruments:
            return IngestionReport(self.asset_class)
        if self._parts is None:
            self._parts = connected_parts(configuration, self.asset_class)
        parts = self._parts.without_effect() if dry_run else self._parts
        chains = self._chains(configuration, parts, source)
        rules = Rules(
            Progress(configuration.initial_lookback_minutes * MINUTE_US, parts.minutes()),
            configuration.source_stale_seconds * MICROSECONDS,
            partial(_trades, configuration, self.asset_class),
            self._clock,
        )
        report = Ingestion(chains, rules, parts.gate, parts.publisher, parts.watermarks).run(instruments)
        return replace(report, dry_run=dry_run)

    def close(self) -> None:
        """Closes the parts, passed in or not."""
        for part in (*self._clients.values(), self._parts):
            if part is not None:
                part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _chains(self, configuration: Settings, parts: Parts, only: str | None) -> list[SourceChain]:
        chains = []
        known: dict[Source, None] = {}
        for want in WANTS[self.asset_class]:
            offers = chain(self.asset_class, want, configuration)
            givers = [offered.declaration.name for offered, _ in offers]
            known |= dict.fromkeys(givers)
            candidates = [
                Candidate(self._client(offered.declaration.name, configuration, parts.gate), capability)
                for offered, capability in offers
                if only in (None, offered.declaration.name)
            ]
            if candidates:
                board = parts.board if only is None else MemorySwitchboard()
                chains.append(SourceChain(self.asset_class, want, candidates, parts.gate, board, givers))
        if not chains:
            kind = {"stock": "stocks", "crypto": "crypto"}[self.asset_class]
            raise SettingsError(f"{only} gives nothing for {kind} here: it takes {', '.join(known)}")
        return chains

    def _client(self, name: Source, configuration: Settings, gate: Gate) -> SourceClient:
        if name not in self._clients:
            self._clients[name] = build_client(name, configuration, gate, self._clock)
        return self._clients[name]

    def _instruments(self, configuration: Settings, named: Sequence[str]) -> list[Instrument]:
        symbols = {"stock": configuration.stock_symbols, "crypto": configuration.crypto_symbols}[self.asset_class]
        setting = f"{self.asset_class.upper()}_SYMBOLS"
        for symbol in named:
            if symbol not in symbols:
                raise SettingsError(f"{symbol} is not polled: add it to {setting} ({', '.join(symbols) or 'empty'})")
        return catalogue().select(setting, named or symbols, self.asset_class)


def connected_parts(configuration: Settings, asset_class: AssetClass) -> Parts:
    """The parts on the real stores; each connects when it is used first."""
    # Here and not at the top: a producer with parts of its own needs no client of a store.
    from include.producers.shared_gate import SharedGate
    from include.producers.spool import Spool
    from include.storage.source_switches import SourceSwitches
    from include.storage.trade_coverage import PostgresTradedMinutes
    from include.storage.watermarks import PostgresWatermarks

    database = required(configuration.writer_database_url or configuration.database_url, "DATABASE_URL")
    servers = required(configuration.kafka_bootstrap_servers, "KAFKA_BOOTSTRAP_SERVERS")
    spool = Spool(configuration.state_dir / "spool" / f"{asset_class}.sqlite", configuration.spool_max_megabytes)
    return Parts(
        gate=SharedGate.connected(declarations(configuration), configuration),
        board=SourceSwitches(database),
        publisher=KafkaPublisher(servers, spool),
        watermarks=PostgresWatermarks(database),
        minutes=partial(PostgresTradedMinutes, database) if asset_class == "crypto" else NoTrades,
    )


def _trades(configuration: Settings, asset_class: AssetClass, at_us: int) -> bool:
    """Whether a symbol of this class must have news at this time. The simulated market never closes;
    a recorded day is quiet where it was quiet."""
    if configuration.market == "replay":
        return False
    return configuration.market == "sandbox" or is_open(asset_class, at_us)
