"""The platform's settings as Airflow's connections give them: DAGs reach every service through these."""

from __future__ import annotations

from urllib.parse import quote

from airflow.sdk import Connection

from include.settings import Settings, load_settings


def connected_settings() -> Settings:
    """Settings with Kafka, PostgreSQL and Redis taken from kafka_default, postgres_default, redis_default."""
    writer = database_url("postgres_default")
    return load_settings(
        kafka_bootstrap_servers=Connection.get("kafka_default").extra_dejson["bootstrap.servers"],
        writer_database_url=writer,
        redis_url=_redis_url(Connection.get("redis_default")),
    )


def database_url(connection_id: str) -> str:
    """A PostgreSQL connection of that id as a URL."""
    return url_of(Connection.get(connection_id))


def url_of(held: Connection) -> str:
    """A PostgreSQL connection as a URL."""
    login = f"{quote(held.login or '', safe='')}:{quote(held.password or '', safe='')}"
    return f"postgresql://{login}@{held.host}:{held.port or 5432}/{held.schema}"


def _redis_url(held: Connection) -> str:
    login = f"{quote(held.login or '', safe='')}:{quote(held.password or '', safe='')}@" if held.password else ""
    return f"redis://{login}{held.host}:{held.port or 6379}/{held.extra_dejson.get('db', 0)}"
