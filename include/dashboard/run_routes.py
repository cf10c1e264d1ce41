"""`/dag-runs/<DAG>/<run>`: where a run of Airflow's leads in our pages; one address for all DAGs, for Airflow's tabs
cannot be of one DAG only."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import RedirectResponse

from include.dashboard.selection import OPERATIONS_PATH, QualitySelection
from include.quality.data_docs import slug

PATH = "/dag-runs/{dag_id}/{run_id:path}"
_CHECKS = "check_data_quality"


def create_run_router() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    def follow(
        dag_id: Annotated[str, Path(max_length=250)], run_id: Annotated[str, Path(max_length=250)]
    ) -> RedirectResponse:
        return RedirectResponse(page_of(dag_id, run_id), status_code=302)

    return router


def page_of(dag_id: str, run_id: str) -> str:
    """The results of a run of the checks; of any other DAG, how all fares now."""
    if dag_id == _CHECKS:
        return QualitySelection(run=slug(run_id)).href()
    return OPERATIONS_PATH
