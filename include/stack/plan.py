"""What a stack will be: market, settings, which services are ours, and the URLs that follow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2
from pydantic import SecretStr

from include.errors import SettingsError
from include.sandbox.recordings import read_recordings
from include.settings import PROJECT_ROOT, Market, Settings, load_settings
from include.sources.catalogue import catalogue
from include.stack.java import find_java_home
from include.stack.layout import ENVIRONMENT, Layout
from include.stack.secrets import Secrets, load_secrets

LOOPBACK = "127.0.0.1"
DATABASE = "financial_data"
OWNER = "dataeng"
AIRFLOW_USER = "admin"
#: How long a live source may take to show that it is there, when MARKET is not set.
PROBE_SECONDS = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that the services are made from. `own` names the stores that this stack runs itself."""

    settings: Settings
    layout: Layout
    secrets: Secrets
    own: frozenset[str]
    java_home: Path

    @property
    def market(self) -> Market:
        market = self.settings.market
        assert market is not None  # resolved by make_plan
        return market

    def environment(self) -> dict[str, str]:
        """The lines of `./pipeline env`: every setting of the running stack, secrets included."""
        ports = self.settings.ports
        fixed = {
            "AIRFLOW_URL": f"http://{LOOPBACK}:{ports.airflow}",
            "AIRFLOW_USERNAME": AIRFLOW_USER,
            "AIRFLOW_PASSWORD": self.secrets.airflow_admin,
            "DASHBOARD_URL": f"http://{LOOPBACK}:{ports.dashboard}",
            "SPARK_UI_URL": f"http://{LOOPBACK}:{ports.spark_ui}",
        }
        return {name.upper(): text for name, text in _as_lines(self.settings)} | fixed

    def process_environment(self) -> dict[str, str]:
        """What every service gets: no secret among it; they read those from `stack.env`."""
        path = [str(ENVIRONMENT / "bin"), str(self.java_home / "bin"), os.environ.get("PATH", os.defpath)]
        return {
            "PIPELINE_HOME": str(self.layout.home),
            "PIPELINE_PORT_OFFSET": str(self.settings.pipeline_port_offset),
            "PIPELINE_INSTANCE": self.layout.instance,
            "MARKET": self.market,
            "PYTHONPATH": str(PROJECT_ROOT),
            "PYTHONUNBUFFERED": "1",
            "AIRFLOW_HOME": str(self.layout.airflow_home),
            "JAVA_HOME": str(self.java_home),
            "SPARK_LOCAL_IP": LOOPBACK,
            "PYSPARK_PYTHON": str(ENVIRONMENT / "bin" / "python"),
            "PATH": os.pathsep.join(path),
            "TZ": "UTC",
        }


def make_plan(market: Market | None = None, *, running: bool = False) -> Plan:
    """The plan from the user's settings; for a `running` stack, from what it was started with."""
    given = load_settings(with_stack=running, **({"market": market} if market else {}))
    chosen = given.market or _live_or_sandbox(given)
    layout = Layout(given.pipeline_home, chosen)
    layout.make()
    secrets = load_secrets(layout)
    own = frozenset(
        service
        for service, url in {
            "kafka": given.kafka_bootstrap_servers,
            "postgres": given.database_url,
            "redis": given.redis_url,
        }.items()
        if url is None or _is_ours(url, layout)
    )
    resolved = given.model_copy(
        update={"market": chosen, **_instruments(given, chosen), **_urls(given, own, secrets, chosen)}
    )
    return Plan(resolved, layout, secrets, own, find_java_home())


def _urls(given: Settings, own: frozenset[str], secrets: Secrets, market: Market) -> dict[str, object]:
    ports = given.ports
    urls: dict[str, object] = {}
    if "kafka" in own:
        urls["kafka_bootstrap_servers"] = f"{LOOPBACK}:{ports.kafka}"
    if "redis" in own:
        urls["redis_url"] = SecretStr(f"redis://:{secrets.redis}@{LOOPBACK}:{ports.redis}/0")
    if "postgres" in own:
        owner = f"postgresql://{OWNER}:{secrets.database_owner}@{LOOPBACK}:{ports.postgres}/{DATABASE}"
    else:
        assert given.database_url is not None  # not ours means that the user set it
        owner = given.database_url.get_secret_value()
    urls["database_url"] = SecretStr(owner)
    urls["writer_database_url"] = SecretStr(with_user(owner, "pipeline_writer", secrets.pipeline_writer))
    urls["reader_database_url"] = SecretStr(with_user(owner, "pipeline_reader", secrets.pipeline_reader))
    if market != "live":
        stand_in = f"http://{LOOPBACK}:{ports.sandbox}"
        urls |= {f"{name}_base_url": f"{stand_in}/{name}" for name in _SOURCES}
        urls |= {f"{name}_stream_url": f"ws://{LOOPBACK}:{ports.sandbox}/{name}/stream" for name in _STREAMS}
    return urls


_SOURCES = ("yahoo", "alpha_vantage", "coingecko", "binance")
_STREAMS = ("yahoo", "binance")


def with_user(url: str, user: str, password: str) -> str:
    """The same database for another role."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _live_or_sandbox(given: Settings) -> Market:
    """MARKET unset: live if a source answers, else the sandbox."""
    for url in (given.yahoo_base_url, given.binance_base_url):
        try:
            httpx2.get(str(url), timeout=PROBE_SECONDS)
        except httpx2.HTTPError:
            continue
        return "live"
    return "sandbox"


def _instruments(given: Settings, market: Market) -> dict[str, tuple[str, ...]]:
    """The symbols to poll. Raises SettingsError for one that the catalogue does not have.

    A replay has what was recorded: by default all of it, and of the symbols asked for those.
    """
    catalogue().select("STOCK_SYMBOLS", given.stock_symbols, "stock")
    catalogue().select("CRYPTO_SYMBOLS", given.crypto_symbols, "crypto")
    chosen = {"stock_symbols": given.stock_symbols, "crypto_symbols": given.crypto_symbols}
    if market == "replay":
        recorded = read_recordings(given.replay_data_dir)
        for name in chosen:
            asset_class = name.removesuffix("_symbols")
            known = tuple(s for s in recorded if s in catalogue() and catalogue().get(s).asset_class == asset_class)
            asked = chosen[name] if name in given.model_fields_set else known
            chosen[name] = tuple(symbol for symbol in asked if symbol in recorded)
    if not any(chosen.values()):
        raise SettingsError("STOCK_SYMBOLS and CRYPTO_SYMBOLS name no symbol of this market: name at least one")
    return chosen


def _is_ours(url: SecretStr | str, layout: Layout) -> bool:
    """Whether a set URL is just what this stack itself wrote earlier (a shell that holds our `env`)."""
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    return layout.stack_env.exists() and f"={text}" in layout.stack_env.read_text()


def _as_lines(chosen: Settings) -> list[tuple[str, str]]:
    lines = []
    for name in Settings.model_fields:
        value = getattr(chosen, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        lines.append((name, ",".join(value) if isinstance(value, tuple) else str(value)))
    return lines
