"""Generated secrets: made once per stack, kept in one file of mode 0600, never printed in a log."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import asdict, dataclass

from include.stack.layout import Layout, write_private


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    postgres_admin: str
    database_owner: str
    pipeline_writer: str
    pipeline_reader: str
    pipeline_checker: str
    airflow_database: str
    airflow_admin: str
    airflow_fernet_key: str
    airflow_jwt_secret: str
    airflow_api_secret: str
    redis: str
    redis_reader: str
    kafka_cluster_id: str


def load_secrets(layout: Layout) -> Secrets:
    """Read the stack's secrets; generate them at the first start."""
    path = layout.secrets_file
    held = json.loads(path.read_text()) if path.exists() else {}
    made = Secrets(**{name: held.get(name) or _generate(name) for name in Secrets.__slots__})
    if asdict(made) != held:
        write_private(path, json.dumps(asdict(made), indent=2))
    return made


def _generate(name: str) -> str:
    if name == "airflow_fernet_key":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if name == "kafka_cluster_id":
        # Kafka takes 16 bytes in URL-safe base64, and no leading dash.
        return "K" + base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")[1:]
    return secrets.token_hex(16)
