"""What a question may name: a misspelt parameter is refused, not passed over with an answer to another question."""

from __future__ import annotations

from difflib import get_close_matches

from fastapi import Request
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute

from include.api.ranges import unusable


def refuse_unknown(request: Request) -> None:
    """A dependency of every route. Raises HTTPException (422) that names the parameter."""
    route = request.scope.get("route")
    # An address that is not there has no parameters, and its own answer.
    if not isinstance(route, APIRoute) or not route.include_in_schema:
        return
    known = [field.alias for field in get_flat_dependant(route.dependant).query_params]
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known:
            raise unusable(name[:50], _advice(name, known))
        if given.count(name) > 1:
            raise unusable(name, "given more than once")


def _advice(name: str, known: list[str]) -> str:
    if not known:
        return "no such parameter; this resource takes none"
    meant = get_close_matches(name, known, 1)
    guess = f"; {meant[0]} may be meant" if meant else ""
    return f"no such parameter{guess}; there are {', '.join(known)}"
