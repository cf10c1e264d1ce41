"""The OpenAPI document, made to say what the framework cannot know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from include.api.problems import MEDIA_TYPE

_JSON = "application/json"


def finish(app: FastAPI, needs_token: bool) -> None:
    """From now on `app.openapi()` gives the finished document."""
    generate = app.openapi
    made: list[dict[str, Any]] = []

    def document() -> dict[str, Any]:
        if not made:
            made.append(generate())
            for operation in _operations(made[0]):
                _name_the_media_type_of_problems(operation)
                if not needs_token and "security" in operation:
                    operation["security"].append({})
        return made[0]

    app.openapi = document  # type: ignore[method-assign]


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _name_the_media_type_of_problems(operation: dict[str, Any]) -> None:
    """The framework puts every model under the media type of the route's good answer."""
    for response in operation["responses"].values():
        content = response.get("content", {})
        if MEDIA_TYPE in content:
            response["content"] = {MEDIA_TYPE: content[_JSON]}
