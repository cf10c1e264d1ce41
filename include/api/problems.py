"""Errors as problem JSON (RFC 9457): what is wrong, in words, and nothing of our insides."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from include.storage.market_reads import DatabaseUnavailable

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """`title` names the kind of error, `detail` says what to do about this one."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str


def problem(request: Request, status: int, detail: str) -> JSONResponse:
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, instance=request.url.path)
    return JSONResponse(body.model_dump(), status_code=status, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Every error of the application leaves as problem JSON."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        response = problem(request, error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        faults = (f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(faults))

    @app.exception_handler(DatabaseUnavailable)
    async def unavailable(request: Request, _error: DatabaseUnavailable) -> JSONResponse:
        response = problem(request, HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer; try again shortly")
        response.headers["Retry-After"] = "5"
        return response
