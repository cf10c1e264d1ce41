"""The newest runs of our DAGs, as Airflow's REST API tells them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any
from urllib.parse import quote

import httpx2

from include.errors import Unreachable

ANSWER_SECONDS = 4.0
RUNS_SHOWN = 30

#: Made by whoever opens a look, so that a test can answer in Airflow's place.
Transport = httpx2.BaseTransport


@dataclass(frozen=True, slots=True)
class DagRun:
    """One run. `started_at` is None while it waits; `duration_seconds` is that of a run that has ended."""

    dag_id: str
    run_id: str
    state: str
    run_type: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    run_after: datetime | None = None

    @property
    def duration_seconds(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()

    def href(self, airflow_url: str) -> str:
        """The run's page in Airflow."""
        return f"{airflow_url}/dags/{quote(self.dag_id, safe='')}/runs/{quote(self.run_id, safe='')}"


class AirflowRuns:
    """Reads with a login of its own; the token is kept and renewed when Airflow takes it no more.

    Safe to call from several threads. The login is in no message.
    """

    def __init__(self, url: str, username: str, password: str, transport: Transport | None = None) -> None:
        self._login = {"username": username, "password": password}
        # Airflow is ours: a proxy of the machine has no business there.
        self._http = httpx2.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False, transport=transport)
        self._token: str | None = None
        self._lock = Lock()

    def newest(self, limit: int = RUNS_SHOWN) -> list[DagRun]:
        """Of all DAGs, begun or due last first. Raises Unreachable."""
        with self._lock:
            return self._told(lambda: self._runs(limit))

    def close(self) -> None:
        self._http.close()

    def _told(self, question: Callable[[], list[DagRun]]) -> list[DagRun]:
        try:
            return question()
        except httpx2.HTTPStatusError as error:
            raise Unreachable(f"Airflow does not answer: status {error.response.status_code}") from error
        except httpx2.HTTPError as error:
            raise Unreachable(f"Airflow does not answer: {type(error).__name__}") from error
        except (KeyError, ValueError, TypeError) as error:
            raise Unreachable("Airflow answers something that is no list of runs") from error

    def _runs(self, limit: int) -> list[DagRun]:
        asked: dict[str, str | int] = {"order_by": "-run_after", "limit": limit}
        answer = self._http.get("/api/v2/dags/~/dagRuns", params=asked, headers=self._headers())
        if answer.status_code in (401, 403):
            # The token is over, or another Airflow has come up since.
            self._token = None
            answer = self._http.get("/api/v2/dags/~/dagRuns", params=asked, headers=self._headers())
        return [_run(row) for row in answer.raise_for_status().json()["dag_runs"]]

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            answer = self._http.post("/auth/token", json=self._login).raise_for_status()
            self._token = str(answer.json()["access_token"])
        return {"Authorization": f"Bearer {self._token}"}


def _run(row: dict[str, Any]) -> DagRun:
    return DagRun(
        dag_id=str(row["dag_id"]),
        run_id=str(row["dag_run_id"]),
        state=str(row["state"]),
        run_type=str(row["run_type"]),
        started_at=_moment(row.get("start_date")),
        ended_at=_moment(row.get("end_date")),
        run_after=_moment(row.get("run_after")),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
