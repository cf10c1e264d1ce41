"""The shape of a dialect: one file a source, one entry in app.DIALECTS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Dialect:
    """The GET routes of one source, by their path under `/<name>`."""

    name: str
    routes: Mapping[str, Handler]


def json_response(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Strict JSON; floats are written with the fewest digits that give the same double."""
    return Response(
        msgspec.json.encode(document),
        status,
        dict(headers or {}),
        media_type="application/json;charset=utf-8",
    )
