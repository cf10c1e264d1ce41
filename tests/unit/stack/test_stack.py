"""The parts of the local stack that need no running service."""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import os
import shlex
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from include.errors import SettingsError, StackError
from include.stack import airflow, jars, java, postgres, preflight
from include.stack.control import Stack
from include.stack.layout import Layout, last_log_line
from include.stack.plan import Plan, as_line, make_plan, with_user
from include.stack.preflight import problems
from include.stack.redis_shell import run as run_redis
from include.stack.secrets import load_secrets
from include.stack.status import Row
from include.stack.status_table import render
from include.stack.supervisor import Program, _configuration


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PIPELINE_PORT_OFFSET", "7")
    monkeypatch.setenv("MARKET", "sandbox")


@pytest.fixture
def plan() -> Plan:
    return make_plan()


def test_each_market_has_its_own_folder_and_ports_are_shifted(plan: Plan) -> None:
    assert plan.layout.state == plan.settings.pipeline_home / "sandbox"
    assert plan.environment()["DASHBOARD_URL"] == "http://127.0.0.1:8057"
    assert plan.environment()["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:29099"
    assert plan.environment()["YAHOO_BASE_URL"] == "http://127.0.0.1:8077/yahoo"


def test_a_service_whose_url_is_set_is_used_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:p%40ss@db.example:5432/market")
    plan = make_plan()
    assert plan.own == {"redis"}
    names = [service.name for service in Stack(plan, lambda line: None).services]
    assert "kafka" not in names
    assert "postgres" in names, "Airflow's metadata still needs one"
    writer = plan.environment()["WRITER_DATABASE_URL"]
    assert writer.startswith("postgresql://pipeline_writer:")
    assert writer.endswith("@db.example:5432/market")
    # Also once the stack's own file names that URL.
    plan.layout.stack_env.write_text("".join(f"{as_line(*pair)}\n" for pair in plan.environment().items()))
    assert make_plan(running=True).own == {"redis"}


def test_settings_in_the_caller_s_shell_do_not_reach_the_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BINANCE_BASE_URL", "https://elsewhere.example")
    monkeypatch.setenv("ALPHA_VANTAGE_API_KEY", "the-key")
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "another")
    environment = make_plan().process_environment()
    assert environment.keys().isdisjoint({"BINANCE_BASE_URL", "ALPHA_VANTAGE_API_KEY", "AIRFLOW__CORE__FERNET_KEY"})
    assert environment["MARKET"] == "sandbox"


def test_a_connection_gets_the_password_itself_and_not_its_quoted_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:p%40ss@db.example:5432/market")
    assert airflow._connections(make_plan())["postgres_owner"]["password"] == "p@ss"


def test_a_pid_file_that_names_another_program_does_not_keep_postgres_down(plan: Plan) -> None:
    data = plan.layout.data / "postgres"
    data.mkdir()
    (data / "PG_VERSION").write_text("18")
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    postgres.prepare(plan)
    assert not (data / "postmaster.pid").exists()


def test_a_shell_that_holds_our_own_env_does_not_turn_our_services_into_foreign_ones(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.layout.stack_env.write_text("".join(f"{k}={v}\n" for k, v in plan.environment().items()))
    for name in ("DATABASE_URL", "REDIS_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.setenv(name, plan.environment()[name])
    assert make_plan().own == {"kafka", "postgres", "redis"}


def test_a_replay_polls_what_was_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import gzip

    header = "symbol,ts_utc,open,high,low,close,volume\n"
    with gzip.open(tmp_path / "IBM.csv.gz", "wt") as file:
        file.write(header + "IBM,2013-10-07T14:00:00Z,1,2,1,2,100\n")
    monkeypatch.setenv("MARKET", "replay")
    monkeypatch.setenv("REPLAY_DATA_DIR", str(tmp_path))
    assert make_plan().settings.stock_symbols == ("IBM",)
    assert make_plan().settings.crypto_symbols == ()
    monkeypatch.setenv("STOCK_SYMBOLS", "AAPL")
    with pytest.raises(SettingsError, match="STOCK_SYMBOLS and CRYPTO_SYMBOLS name no symbol"):
        make_plan()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STOCK_SYMBOLS", "AAPL,NOSUCH", "STOCK_SYMBOLS: NOSUCH has no entry"),
        ("CRYPTO_SYMBOLS", "AAPL", "CRYPTO_SYMBOLS: AAPL is a stock"),
        ("WATERMARK_SECONDS", "0", "WATERMARK_SECONDS='0' cannot be used"),
        ("MARKET", "bazaar", "MARKET='bazaar' cannot be used"),
    ],
)
def test_a_bad_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        make_plan()


def test_secrets_are_made_once_private_and_different(plan: Plan) -> None:
    file = plan.layout.secrets_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    values = list(json.loads(file.read_text()).values())
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 22
    assert load_secrets(plan.layout) == plan.secrets
    assert plan.secrets.redis not in repr(plan.secrets)


def test_services_get_no_secret_by_environment_or_argument(plan: Plan) -> None:
    values = json.loads(plan.layout.secrets_file.read_text()).values()
    shown = json.dumps(plan.process_environment())
    for service in Stack(plan, lambda line: None).services:
        shown += " ".join(service.program.command) + json.dumps(service.program.environment)
    assert not [value for value in values if value in shown]


def test_airflow_listens_on_loopback_with_its_own_keys(plan: Plan) -> None:
    airflow.prepare(plan)
    file = plan.layout.airflow_home / "airflow.cfg"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    held = configparser.ConfigParser(interpolation=None)
    held.read(file)
    assert held["api"]["host"] == "127.0.0.1"
    assert held["core"]["execution_api_server_url"] == "http://127.0.0.1:8087/execution/"
    assert held["core"]["fernet_key"] == plan.secrets.airflow_fernet_key
    assert held["core"]["load_examples"] == "False"


def test_supervisor_reads_back_awkward_commands(plan: Plan) -> None:
    program = Program("odd", ["/bin/echo", "50%", "a b", "jars/*"], environment={"A": "1%"})
    text = _configuration(plan.layout, [program])
    held = configparser.ConfigParser(interpolation=None)
    held.read_string(text)
    command = held["program:odd"]["command"].replace("%%", "%")
    assert shlex.split(command) == program.command
    assert len(str(plan.layout.socket)) < 100


def test_the_wheel_s_java_loses_only_the_flag_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(java, "OLDEST_JAVA", 10_000)
    monkeypatch.setattr(java, "ENVIRONMENT", tmp_path)
    home = java.find_java_home()
    assert home == tmp_path / "share" / "java"
    answer = subprocess.run(
        [home / "bin" / "java", "--add-modules=jdk.incubator.vector", "-Dx=a b", "-version"],
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    assert "Temurin" in answer.stderr


def test_a_jar_that_is_not_the_locked_one_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jar = jars.Jar("kafka", "a/b/c-1.jar", hashlib.sha256(b"right").hexdigest())
    monkeypatch.setattr(jars, "JARS", tmp_path)
    monkeypatch.setattr(jars, "locked_jars", lambda: [jar])
    monkeypatch.setattr(jars, "_download", lambda client, url: b"wrong")
    with pytest.raises(StackError, match=r"c-1\.jar is not the file that config/jars\.lock names"):
        jars.install_jars()
    assert not jar.file.exists()
    monkeypatch.setattr(jars, "_download", lambda client, url: b"right")
    jars.install_jars()
    assert jars.damaged_jars() == []
    jar.file.write_bytes(b"Right")
    assert jars.damaged_jars() == [jar]


def test_an_unreachable_repository_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(jars, "JARS", tmp_path)
    monkeypatch.setenv("MAVEN_REPOSITORY_URL", "http://127.0.0.1:9")
    with pytest.raises(StackError, match="set HTTPS_PROXY|MAVEN_REPOSITORY_URL") as caught:
        jars.install_jars()
    assert "\n" not in str(caught.value)


def test_preflight_names_the_port_the_program_and_the_way_out(plan: Plan) -> None:
    services = Stack(plan, lambda line: None).services
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", plan.settings.ports.redis))
        squatter.listen()
        found = [problem for problem in problems(plan, services) if "redis" in problem]
    assert len(found) == 1
    assert f"port {plan.settings.ports.redis} for redis is taken" in found[0]
    assert f"pid {os.getpid()}" in found[0]


@pytest.mark.parametrize(("limit", "word"), [("NEEDED_DISK_GIB", "free on the disk"), ("NEEDED_MEMORY_GIB", "memory")])
def test_preflight_says_when_disk_or_memory_is_short(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, limit: str, word: str
) -> None:
    monkeypatch.setattr(preflight, limit, 10**9)
    assert any(word in problem for problem in problems(plan, []))


def test_with_user_quotes_what_a_url_cannot_hold() -> None:
    url = with_user("postgresql://owner:old@h:1/d?x=1", "writer", "p@:/%")
    assert url == "postgresql://writer:p%40%3A%2F%25@h:1/d?x=1"


def test_the_last_telling_line_of_a_log_is_found(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert last_log_line(log) == ""
    log.write_text("started\nFATAL: no space\n  at java.lang.Thread\n\n")
    assert last_log_line(log) == "FATAL: no space"


def test_the_status_table_shows_trouble_by_sign_and_words() -> None:
    from rich.console import Console

    rows = [
        Row("kafka", "running", True, 10, 29092, 3_700, 5 * 2**20, ""),
        Row("redis", "fatal", False, None, 26379, 0, 0, "port is taken"),
        Row("stream", "running", True, 11, 4040, 59, 0, "", lag=1_234),
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(render(rows, "sandbox"))
    text = console.export_text()
    assert "SANDBOX · 2 of 3 healthy" in text
    assert "1 h 01 min" in text
    assert "✗" in text
    assert "port is taken" in text
    assert "lag 1,234" in text


def test_postgres_runs_unprivileged_when_we_are_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert postgres._unprivileged() == []
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(postgres.shutil, "which", lambda name: None)
    with pytest.raises(StackError, match="does not run as root"):
        postgres._unprivileged()


def test_redis_cli_without_a_stack_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from include.settings import settings

    settings.cache_clear()
    with pytest.raises(SettingsError, match="REDIS_URL is not set"):
        run_redis(["PING"], Console())
    settings.cache_clear()


def test_layouts_of_two_homes_never_share_a_mark(tmp_path: Path) -> None:
    assert Layout(tmp_path / "a", "sandbox").instance != Layout(tmp_path / "b", "sandbox").instance
    assert Layout(tmp_path / "a", "live").socket != Layout(tmp_path / "a", "sandbox").socket
