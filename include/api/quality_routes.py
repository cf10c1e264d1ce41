"""`/api/v1/quality`: what the checks found, by run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, status
from pydantic import BaseModel

from include.api.problems import declared, not_collected
from include.api.schemas import Moment
from include.market.instrument import Instrument
from include.storage.quality_reads import MAX_RESULTS, QualityReads
from include.storage.quality_rows import CheckResult, Run


class QualityRunOut(BaseModel):
    """`symbols` null: all; counts and rate are null, and `finished_at` too, while the run is under way."""

    run_id: str
    dag_run_id: str | None
    started_at: Moment
    finished_at: Moment | None
    covered_from: Moment
    covered_until: Moment
    suites: list[str]
    symbols: list[str] | None
    passed: int | None
    failed_critical: int | None
    failed_warning: int | None
    pass_rate: float | None
    summary: str | None

    @classmethod
    def of(cls, run: Run) -> QualityRunOut:
        return cls(**{name: getattr(run, name) for name in cls.model_fields})


class CheckOut(BaseModel):
    """`failing_keys` are the first keys of `failing_rows`: which rows, never their figures."""

    suite: str
    check_name: str
    dimension: str
    severity: str
    passed: bool
    observed: str | None
    expected: str | None
    reason: str | None
    failing_rows: int
    failing_keys: list[dict[str, Any]]
    checked_at: Moment

    @classmethod
    def of(cls, result: CheckResult) -> CheckOut:
        return cls(**{name: getattr(result, name) for name in cls.model_fields})


class MeasureOut(BaseModel):
    """`measured`: freshness in traded seconds since the last event, completeness as a share of expected minutes."""

    passed: bool
    severity: str
    measured: float | None
    observed: str | None
    expected: str | None

    @classmethod
    def of(cls, result: CheckResult) -> MeasureOut:
        return cls(**{name: getattr(result, name) for name in cls.model_fields})


class SymbolQuality(BaseModel):
    """Null where the run did not measure it."""

    symbol: str
    freshness: MeasureOut | None
    completeness: MeasureOut | None


class Quality(BaseModel):
    """`run` is null, and both lists are empty, if nothing was ever checked."""

    market: str
    run: QualityRunOut | None
    results: list[CheckOut]
    symbols: list[SymbolQuality]


def create_quality_router(market: str, instruments: Sequence[Instrument], reader: QualityReads) -> APIRouter:
    """The route over the given reader; `instruments` are those that this stack collects."""
    router = APIRouter(prefix="/api/v1", tags=["data quality"])
    known = {instrument.symbol for instrument in instruments}

    @router.get("/quality", summary="What a run of the checks found", responses=declared(404, 422, 503))
    def read_quality(
        run: Annotated[
            str | None, Query(pattern=r"^[A-Za-z0-9._:+-]{1,250}$", description="a run's id; the newest finished one")
        ] = None,
        symbol: Annotated[str | None, Query(description="only this symbol's measures; all")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_RESULTS, description="checks; failing ones come first")] = 500,
    ) -> Quality:
        """Checks, failing first, and each symbol's freshness and completeness as that run measured them."""
        if symbol is not None and symbol not in known:
            raise not_collected(symbol)
        chosen = reader.newest_run() if run is None else reader.run(run)
        if chosen is None and run is not None:
            raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no run {run}; leave it out for the newest")
        found = reader.results(chosen.run_id) if chosen else []
        return Quality(
            market=market,
            run=QualityRunOut.of(chosen) if chosen else None,
            results=[CheckOut.of(each) for each in found if each.symbol is None][:limit],
            symbols=_by_symbol(found, symbol),
        )

    return router


def _by_symbol(found: Sequence[CheckResult], wanted: str | None) -> list[SymbolQuality]:
    measures = {(each.symbol, each.dimension): MeasureOut.of(each) for each in found if each.symbol is not None}
    symbols = sorted({symbol for symbol, _ in measures if symbol and wanted in (None, symbol)})
    return [
        SymbolQuality(
            symbol=symbol,
            freshness=measures.get((symbol, "freshness")),
            completeness=measures.get((symbol, "completeness")),
        )
        for symbol in symbols
    ]
