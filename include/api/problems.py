"""Errors as problem JSON (RFC 9457): what is wrong, in words, and nothing of our insides."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as AnyHTTPException

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


def declared(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Answers of a route for the OpenAPI document."""
    return {code: {"model": Problem, "content": {MEDIA_TYPE: {}}} for code in codes}


def not_collected(symbol: str) -> HTTPException:
    return HTTPException(
        HTTPStatus.NOT_FOUND, f"{symbol[:50]} is not collected here; /api/v1/instruments lists what is"
    )


def install(app: FastAPI) -> None:
    """Every error of the application leaves as problem JSON."""

    @app.exception_handler(AnyHTTPException)
    async def refused(request: Request, error: AnyHTTPException) -> JSONResponse:
        headers = error.headers or {}
        detail = str(error.detail)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.method} is not answered here; {headers.get('Allow', 'GET')} is"
        response = problem(request, error.status_code, detail)
        response.headers.update(headers)
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

    # What we did not think of is in the log, and is for nobody else.
    @app.exception_handler(Exception)
    async def failed(request: Request, _error: Exception) -> JSONResponse:
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of ours; the log of the server has it")
