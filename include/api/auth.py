"""The bearer token that an operator can ask for: one for all, set by API_TOKEN."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Annotated

from fastapi import HTTPException, Security, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import SecretStr

_SCHEME = HTTPBearer(
    scheme_name="token",
    auto_error=False,
    description="The operator's API_TOKEN. Where none is set, none is needed.",
)
_Given = Annotated[HTTPAuthorizationCredentials | None, Security(_SCHEME)]


def guard(token: SecretStr | None) -> Callable[..., None]:
    """A dependency that lets only those with the token pass, or all where there is none."""

    def check(given: _Given) -> None:
        if token is None:
            return
        if given is None:
            raise _refusal("say who asks: Authorization: Bearer and the operator's API_TOKEN", "Bearer")
        # Bytes, for a header may hold what is not ASCII; and compared in a time that tells nothing of the token.
        if not hmac.compare_digest(given.credentials.encode("latin-1"), token.get_secret_value().encode()):
            raise _refusal("the token is not the operator's API_TOKEN", 'Bearer error="invalid_token"')

    return check


def _refusal(detail: str, challenge: str) -> HTTPException:
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": challenge})
