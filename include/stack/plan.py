"""What a stack will be: market, settings, which services are ours, and the URLs that follow."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import httpx2
from pydantic import SecretStr

from include.errors import SettingsError
from include.market.event import SOURCES
from include.sandbox.recordings import read_recordings
from include.settings import PROJECT_ROOT, Market, Settings, load_settings
from include.sources.catalogue import catalogue
from include.stack.java import find_java_home
from include.stack.layout import ENVIRONMENT, Layout
from include.stack.secrets import Secrets, load_secrets

LOOPBACK = "127.0.0.1"
DATABASE = "financial_data"
OWNER = "dataeng"
#: Who only reads, in Redis as in PostgreSQL.
READER = "pipeline_reader"
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
        """All that a service gets: no secret among it; those it reads from `stack.env`.

        Settings in the caller's shell are left out: they were read once, into the plan.
        """
        settled = {name.upper() for name in Settings.model_fields}
        kept = {k: v for k, v in os.environ.items() if k not in settled and not k.startswith("AIRFLOW_")}
        return kept | self._own_environment()

    def _own_environment(self) -> dict[str, str]:
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
            # setproctitle would write over the environment, by which `down` knows its own processes.
            "SPT_NOENV": "1",
            # On one machine Spark stays on loopback; executors of a cluster must reach the driver.
            **({"SPARK_LOCAL_IP": LOOPBACK} if self.settings.spark_master.startswith("local") else {}),
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
    own = _own_services(given, secrets)
    resolved = given.model_copy(
        update={"market": chosen, **_instruments(given, chosen), **_urls(given, own, secrets, chosen)}
    )
    return Plan(resolved, layout, secrets, own, find_java_home())


def _own_services(given: Settings, secrets: Secrets) -> frozenset[str]:
    """Which stores this stack runs: those without a URL, or with just the URL that it would give them."""
    ours = _urls(given, frozenset({"kafka", "postgres", "redis"}), secrets, "live")
    named = {"kafka": "kafka_bootstrap_servers", "postgres": "database_url", "redis": "redis_url"}
    return frozenset(store for store, name in named.items() if getattr(given, name) in (None, ours[name]))


def _urls(given: Settings, own: frozenset[str], secrets: Secrets, market: Market) -> dict[str, object]:
    ports = given.ports
    urls: dict[str, object] = {}
    if "kafka" in own:
        urls["kafka_bootstrap_servers"] = f"{LOOPBACK}:{ports.kafka}"
    if "redis" in own:
        urls["redis_url"] = SecretStr(f"redis://:{secrets.redis}@{LOOPBACK}:{ports.redis}/0")
        urls["reader_redis_url"] = SecretStr(f"redis://{READER}:{secrets.redis_reader}@{LOOPBACK}:{ports.redis}/0")
    if "postgres" in own:
        owner = f"postgresql://{OWNER}:{secrets.database_owner}@{LOOPBACK}:{ports.postgres}/{DATABASE}"
    else:
        assert given.database_url is not None  # not ours means that the user set it
        owner = given.database_url.get_secret_value()
    urls["database_url"] = SecretStr(owner)
    urls["writer_database_url"] = SecretStr(with_user(owner, "pipeline_writer", secrets.pipeline_writer))
    urls["checker_database_url"] = SecretStr(with_user(owner, "pipeline_checker", secrets.pipeline_checker))
    urls["reader_database_url"] = SecretStr(with_user(owner, READER, secrets.pipeline_reader))
    if market != "live":
        stand_in = f"http://{LOOPBACK}:{ports.sandbox}"
        urls |= {f"{name}_base_url": f"{stand_in}/{name}" for name in _SOURCES}
        urls |= {f"{name}_stream_url": f"ws://{LOOPBACK}:{ports.sandbox}/{name}/stream" for name in _STREAMS}
        # The stand-in has keys of its own, one a plan: a real one is not sent there.
        plan = given.alpha_vantage_plan if "alpha_vantage_plan" in given.model_fields_set else "realtime"
        urls |= {"alpha_vantage_plan": plan, "alpha_vantage_api_key": SecretStr(f"sandbox-{plan}")}
        urls["coingecko_api_key"] = None
    return urls


_SOURCES = tuple(name for name in SOURCES if f"{name}_base_url" in Settings.model_fields)
_STREAMS = ("yahoo", "binance")


def with_user(url: str, user: str, password: str) -> str:
    """The same database for another role."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))


def _live_or_sandbox(given: Settings) -> Market:
    """MARKET unset: live if a source answers, else the sandbox."""
    browser = {"User-Agent": "Mozilla/5.0"}
    for url in (f"{given.yahoo_base_url}v8/finance/chart/SPY", f"{given.binance_base_url}api/v3/ping"):
        try:
            answer = httpx2.get(url, timeout=PROBE_SECONDS, headers=browser)
        except httpx2.HTTPError:
            continue
        if answer.is_success:
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


def as_line(name: str, value: str) -> str:
    """`NAME=value`, quoted only where a reader of such files would take a character for syntax."""
    if "${" in value:
        raise SettingsError(f"{name}: a value cannot hold '${{', which such files replace by a variable")
    if not re.search(r"""[\s#'"$\\]""", value):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{escaped}'"


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
