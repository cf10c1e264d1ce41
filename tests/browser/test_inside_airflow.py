"""Our pages inside Airflow's own: by its menu, and by the tab of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
SLOW_MS = 30_000


@pytest.fixture(scope="module")
def airflow(browser: Browser, stack: Any) -> Iterator[Page]:
    """Airflow's pages, with somebody logged in."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{stack.env['AIRFLOW_URL']}/auth/login")
    page.locator("input[name=username]").fill(stack.env["AIRFLOW_USERNAME"])
    page.locator("input[name=password]").fill(stack.env["AIRFLOW_PASSWORD"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Dags").first).to_be_visible(timeout=SLOW_MS)
    yield page
    context.close()


@pytest.mark.parametrize(
    ("route", "shown"),
    [("market", "#legend .moment"), ("quality", "h1"), ("operations", "#topics tbody tr")],
)
def test_the_menu_leads_to_our_pages(airflow: Page, stack: Any, route: str, shown: str) -> None:
    airflow.goto(f"{stack.env['AIRFLOW_URL']}/plugin/{route}")
    framed = airflow.frame_locator("iframe")
    expect(framed.get_by_role("navigation", name="Pages").locator("[aria-current]")).to_have_text(
        route.capitalize(), timeout=SLOW_MS
    )
    expect(framed.locator(shown).first).to_be_attached(timeout=SLOW_MS)


def test_a_run_leads_to_its_page(airflow: Page, stack: Any, api: httpx2.Client) -> None:
    run = api.get("/dags/ingest_stocks/dagRuns?limit=1&order_by=-run_after").json()["dag_runs"][0]["dag_run_id"]
    airflow.goto(f"{stack.env['AIRFLOW_URL']}/dags/ingest_stocks/runs/{quote(run, safe='')}")
    airflow.get_by_role("link", name="Dashboard").or_(airflow.get_by_role("tab", name="Dashboard")).first.click()
    framed = airflow.frame_locator("iframe")
    expect(framed.locator("#topics tbody tr").first).to_be_attached(timeout=SLOW_MS)
