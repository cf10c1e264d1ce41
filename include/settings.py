"""All settings, read in one place, typed, refused by name.

Precedence: process environment, then the running stack's `stack.env` (what `./pipeline up` wrote:
URLs with generated passwords, the market), then `.env` in the project, then the defaults here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from include.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parents[1]
Market = Literal["live", "sandbox", "replay"]
MARKETS: tuple[Market, ...] = get_args(Market)
#: The highest default port (29093) plus the offset must stay a port.
MAX_PORT_OFFSET = 36_000

_DOTENV = PROJECT_ROOT / ".env"
_LISTS = ("stock_symbols", "crypto_symbols")
Symbols = Annotated[tuple[str, ...], NoDecode]


class Ports:
    """The default ports of the contract, shifted by PIPELINE_PORT_OFFSET."""

    def __init__(self, offset: int) -> None:
        self.airflow = 8080 + offset
        self.dashboard = 8050 + offset
        self.sandbox = 8070 + offset
        self.spark_ui = 4040 + offset
        self.kafka = 29092 + offset
        self.kafka_controller = 29093 + offset
        self.postgres = 25432 + offset
        self.redis = 26379 + offset


class Settings(BaseSettings):
    """One immutable picture of the configuration; every field is the lower-case setting name."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=False)

    pipeline_home: Path = PROJECT_ROOT / ".pipeline"
    pipeline_port_offset: int = Field(0, ge=0, le=MAX_PORT_OFFSET)
    market: Market | None = None
    replay_data_dir: Path | None = None
    sandbox_seed: int = 20131008
    sandbox_trades_per_minute: int = Field(20, ge=4, le=1_000)

    stock_symbols: Symbols = ("AAPL", "MSFT", "GOOG", "IBM")
    crypto_symbols: Symbols = ("BTC-USD", "ETH-USD", "SOL-USD")
    ingestion_interval_seconds: int = Field(60, ge=10, le=3600)
    initial_lookback_minutes: int = Field(240, ge=1, le=7 * 24 * 60)
    watermark_seconds: int = Field(600, ge=1, le=86_400)

    #: Take trades from Binance's websocket, and not minutes from its REST.
    crypto_streaming: bool = False
    #: A socket that is silent for so long is taken for mute, and trades are asked for by REST.
    stream_silence_seconds: float = Field(10.0, gt=0, le=60)
    #: Binance closes every socket after 24 hours; ours is replaced before.
    stream_rotation_hours: float = Field(23.0, gt=0, lt=24)
    #: Without news for this long, while its market is open, a source counts as stale.
    source_stale_seconds: int = Field(180, ge=30, le=86_400)
    #: Facts that wait on disk for Kafka, at most, for each producer.
    spool_max_megabytes: int = Field(256, ge=1, le=1_000_000)
    #: Traded seconds without an event after which a collected symbol is stale; a quiet one has longer by its habit.
    freshness_limit_seconds: int = Field(300, ge=60, le=86_400)
    #: Days are copied to Parquet when they are older than this, and leave PostgreSQL when older than that.
    archive_after_days: int = Field(7, ge=2, le=3_650)
    keep_days: int = Field(30, ge=3, le=36_500)
    #: Where the Parquet files go; by default under the market's own folder.
    archive_dir: Path | None = None
    #: So many runs' reports stay in Data Docs; their results stay in the database for KEEP_DAYS.
    data_docs_runs: int = Field(24, ge=1, le=200)
    yahoo_calls_per_minute: int = Field(60, ge=1)
    yahoo_calls_per_hour: int = Field(2_000, ge=1)
    alpha_vantage_calls_per_minute: int = Field(5, ge=1)
    alpha_vantage_calls_per_day: int = Field(25, ge=1)
    coingecko_calls_per_minute: int = Field(30, ge=1)
    coingecko_calls_per_month: int = Field(10_000, ge=1)
    binance_weight_per_minute: int = Field(6_000, ge=40)

    alpha_vantage_api_key: SecretStr | None = None
    alpha_vantage_plan: Literal["free", "delayed", "realtime"] = "free"
    coingecko_api_key: SecretStr | None = None
    coingecko_plan: Literal["demo", "pro"] = "demo"
    yahoo_base_url: AnyHttpUrl = AnyHttpUrl("https://query2.finance.yahoo.com")
    yahoo_stream_url: str = "wss://streamer.finance.yahoo.com/?version=2"
    alpha_vantage_base_url: AnyHttpUrl = AnyHttpUrl("https://www.alphavantage.co")
    coingecko_base_url: AnyHttpUrl = AnyHttpUrl("https://api.coingecko.com/api/v3")
    binance_base_url: AnyHttpUrl = AnyHttpUrl("https://data-api.binance.vision")
    binance_stream_url: str = "wss://data-stream.binance.vision"

    kafka_bootstrap_servers: str | None = None
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    #: May read prices and hear of them, and nothing else.
    reader_redis_url: SecretStr | None = None
    #: Least-privilege twins of DATABASE_URL; `./pipeline up` fills them in.
    writer_database_url: SecretStr | None = None
    reader_database_url: SecretStr | None = None
    checker_database_url: SecretStr | None = None
    spark_master: str = "local[2]"

    #: What the API's users must say, if set.
    api_token: SecretStr | None = None
    api_requests_per_minute: int = Field(600, ge=1)

    #: Where the operations page reads runs of DAGs, with its login there, and where Airflow finds the pages that it
    #: frames; `./pipeline up` fills them in.
    airflow_url: AnyHttpUrl | None = None
    airflow_username: str | None = None
    airflow_password: SecretStr | None = None
    dashboard_url: AnyHttpUrl | None = None

    #: An OpenLineage server that gets the lineage events too.
    openlineage_url: AnyHttpUrl | None = None
    openlineage_api_key: SecretStr | None = None

    slack_webhook_url: SecretStr | None = None
    alert_email: str | None = None
    smtp_host: str | None = None
    smtp_port: int = Field(587, ge=1, le=65_535)
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Any) -> Any:
        """`NAME=` means the default, but for the lists of symbols, where it means none."""
        return {name: value for name, value in values.items() if value != "" or name in _LISTS}

    @field_validator("stock_symbols", "crypto_symbols", mode="before")
    @classmethod
    def _split_symbols(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(dict.fromkeys(part.strip().upper() for part in value.split(",") if part.strip()))

    @field_validator("replay_data_dir", "pipeline_home", "archive_dir")
    @classmethod
    def _from_project_root(cls, value: Path | None) -> Path | None:
        return value if value is None else (PROJECT_ROOT / value.expanduser()).resolve()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings

    @property
    def ports(self) -> Ports:
        return Ports(self.pipeline_port_offset)

    @property
    def state_dir(self) -> Path:
        """The folder of this market's data, logs and secrets. Raises SettingsError without MARKET."""
        if self.market is None:
            raise SettingsError("no stack is running here: start it with ./pipeline up")
        return self.pipeline_home / self.market


def load_settings(*, with_stack: bool = True, **overrides: Any) -> Settings:
    """Settings as they stand now; `with_stack=False` leaves out what a running stack wrote.

    Raises SettingsError, one line that names the setting.
    """
    try:
        return Settings(
            _env_file=_env_files(overrides.get("market")) if with_stack else _DOTENV,
            _env_file_encoding="utf-8",
            **overrides,
        )  # type: ignore[call-arg]
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from None


@cache
def settings() -> Settings:
    """The process's settings, read once."""
    return load_settings()


def required(value: SecretStr | str | None, name: str) -> str:
    """A setting that only a running stack (or the user) provides."""
    if value is None:
        raise SettingsError(f"{name} is not set: start the stack with ./pipeline up, or set it in .env")
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def active_market_file(pipeline_home: Path) -> Path:
    """Names the market whose stack was started last under this home."""
    return pipeline_home / "active"


def stack_env_file(pipeline_home: Path, market: str) -> Path:
    """`KEY=value` lines of that market's stack, secrets included (mode 0600)."""
    return pipeline_home / market / "stack.env"


def _env_files(wanted: str | None) -> tuple[Path, ...]:
    """Later files win, as pydantic-settings reads them."""
    given = load_settings(with_stack=False)
    active = active_market_file(given.pipeline_home)
    market = wanted or given.market or (active.read_text().strip() if active.exists() else "")
    return (_DOTENV, stack_env_file(given.pipeline_home, market)) if market else (_DOTENV,)


def _explain(problem: Any) -> str:
    name = str(problem["loc"][0]).upper()
    field = Settings.model_fields.get(str(problem["loc"][0]))
    if field is not None and "SecretStr" in str(field.annotation):
        return f"{name}: {problem['msg']}"
    return f"{name}={problem['input']!r} cannot be used: {problem['msg'].lower()}"
