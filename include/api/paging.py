"""Pages of a long answer: a cursor says after which row the next one begins, so nothing is skipped or seen twice."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import msgspec
from fastapi import Query, Request

from include.api.ranges import in_utc, unusable

MAX_ROWS = 5_000
_LONGEST = 300

Limit = Annotated[int, Query(ge=1, le=MAX_ROWS, description="rows of one answer")]
Cursor = Annotated[
    str | None, Query(max_length=_LONGEST, description="where to go on, as the answer before says in `next`")
]

_Key = TypeVar("_Key")
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


def cursor_of(*key: datetime | str | int) -> str:
    """Opaque to those who carry it: the key of a page's last row."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def key_of(cursor: str, kind: type[_Key]) -> _Key:
    """The key again. Raises HTTPException (422) for what is no cursor, or one of another kind of answer."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise unusable("cursor", "not one that this resource gave; leave it out to start from the beginning") from None


def older_than(cursor: str | None, end: datetime | None) -> datetime | None:
    """The moment that a page of windows ends before: where the page before it began, but not after `end`."""
    if cursor is None:
        return end
    (given,) = key_of(cursor, tuple[_Moment])
    moment = in_utc(given, "cursor")
    return moment if end is None else min(moment, end)


def next_url(request: Request, *key: datetime | str | int, **fixed: str) -> str:
    """This question for the page after the row with `key`; `fixed` are parameters that it left open.

    Without scheme and host: those are what the client reached us by, and a proxy may have changed them.
    """
    url = request.url.include_query_params(**fixed, cursor=cursor_of(*key))
    return f"{quote(url.path)}?{url.query}"


def links(next_page: str | None) -> dict[str, str]:
    """The header that names the next page in every format (RFC 8288)."""
    return {} if next_page is None else {"Link": f'<{next_page}>; rel="next"'}


#: For the OpenAPI document.
LINK_HEADER: dict[str, Any] = {
    "Link": {"description": 'the next page, as in <...>; rel="next"; none on the last', "schema": {"type": "string"}}
}
