"""Data Docs inside Airflow's UI: files of the market's own folder, for logged-in users only."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.core_api.security import requires_authenticated
from fastapi import Depends, FastAPI, HTTPException
from fastapi import Path as PathParam
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from include.operators.data_docs import DAG_ID
from include.quality.data_docs import RUNS, SITE, folder_of, slug
from include.settings import settings

# No script and nothing from another host, whatever a page of an older version says; Airflow itself may frame it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app(folder: Path | None = None) -> FastAPI:
    """The pages under `folder`; by default those of the running market."""
    app = FastAPI(
        title="Data Docs",
        dependencies=[Depends(requires_authenticated())],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )

    def root() -> Path:
        return (folder or folder_of(settings().state_dir)).resolve()

    @app.get("/")
    def index() -> Response:
        if not (root() / SITE / "index.html").exists():
            return _page("Nothing was checked yet", f"The DAG {DAG_ID} runs every 10 minutes; its reports stand here.")
        return RedirectResponse(f"{SITE}/index.html")

    @app.get("/run/{dag_id}/{run_id:path}")
    def run(dag_id: str, run_id: str) -> Response:
        """The report of one run of the DAG, in words."""
        if dag_id != DAG_ID:
            return _page("No report", f"Reports of data quality belong to the runs of {DAG_ID}, not of {dag_id}.")
        page = root() / RUNS / f"{slug(run_id)}.html"
        if not page.exists():
            return _page(
                "No report of this run here",
                "It has not come to its end yet, or its report made room for newer ones; "
                "its results are still in data_quality_results and on the dashboard's quality page.",
            )
        return RedirectResponse(f"../../{RUNS}/{page.name}")

    @app.get("/{path:path}")
    def file(path: Annotated[str, PathParam()]) -> Response:
        wanted = (root() / path).resolve()
        shown = (root() / SITE, root() / RUNS)
        if not any(wanted.is_relative_to(each) for each in shown) or not wanted.is_file():
            raise HTTPException(404, "no such page")
        return FileResponse(wanted, headers=_HEADERS)

    return app


def _page(title: str, words: str) -> HTMLResponse:
    body = f"<!DOCTYPE html><title>{escape(title)}</title><h1>{escape(title)}</h1><p>{escape(words)}</p>"
    return HTMLResponse(body, headers=_HEADERS)
