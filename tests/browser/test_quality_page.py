"""The quality page as a person uses it, against the running stack with two days of seeded runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Page, expect

from include.storage.database import libpq_url
from tests.browser.chart import REFRESH_S, wait_until
from tests.browser.conftest import Visit
from tests.browser.test_dashboard import UPDATE, api
from tests.quality_seed import BROKEN, EVERY, HOLES, MENDED, STALE, SYMBOLS, seed_quality

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Seeded:
    """`newest` fails, `clean` passed all; both are runs of the seed, whatever the stack itself has checked since."""

    newest: str
    clean: str

    @property
    def address(self) -> str:
        return f"/quality?run={self.newest}"


@pytest.fixture(scope="module")
def seeded(stack: Any) -> Iterator[Seeded]:
    owner_url = libpq_url(stack.env["DATABASE_URL"])
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    newest = now - timedelta(minutes=now.minute % 10)
    runs = seed_quality(owner_url, newest)
    yield Seeded(runs[-1], runs[-1 - timedelta(hours=6) // EVERY])
    with psycopg.connect(owner_url) as connection:
        for table in ("quality_runs", "data_quality_results", "quarantined_events"):
            connection.execute(f"DELETE FROM {table} WHERE run_id = ANY(%s)", (runs,))
        connection.execute("DELETE FROM archived_days WHERE checksum = 1")


def heading(page: Page) -> Any:
    return page.get_by_role("heading", level=1)


def test_the_page_says_in_one_line_how_good_the_data_are(visit: Visit, seeded: Seeded) -> None:
    page = visit(seeded.address)
    expect(heading(page)).to_have_text("2 critical checks fail, 1 warning", timeout=20_000)
    expect(page.locator(".overall .sign")).to_have_text("✕")
    expect(page.locator(".overall p")).to_contain_text(re.compile(r"\d+ of \d+ passed · \d{4}-\d\d-\d\d \d\d:\d\d UTC"))
    expect(page.locator("#checked-age")).to_have_text(re.compile(r"(Checked|Not checked) · \d+[smhd]"))
    assert page.title() == "Quality · Market Data Platform"
    clean = visit(f"/quality?run={seeded.clean}")
    expect(heading(clean)).to_have_text(re.compile(r"All \d+ checks pass"), timeout=20_000)
    expect(clean.locator("#failing-checks")).to_have_text(re.compile("No check fails"))


def test_without_a_run_in_the_address_the_newest_is_shown(visit: Visit, seeded: Seeded, dashboard_url: str) -> None:
    page = visit("/quality")
    expect(page.locator(".overall .run-id")).to_be_visible(timeout=20_000)

    def same() -> bool:
        newest = api(page, f"{dashboard_url}/api/v1/quality")["run"]["dag_run_id"]
        return page.locator(".overall .run-id").inner_text() == str(newest)

    wait_until(page, same, "the page shows the run of the API", seconds=3 * REFRESH_S)


def test_the_run_leads_to_airflow(visit: Visit, seeded: Seeded, stack: Any, dashboard_url: str) -> None:
    page = visit(seeded.address)
    run = api(page, f"{dashboard_url}/api/v1/quality?run={seeded.newest}")["run"]
    link = page.locator(".overall .run-id")
    expect(link).to_have_text(run["dag_run_id"], timeout=20_000)
    href = link.get_attribute("href") or ""
    assert href.startswith(f"{stack.env['AIRFLOW_URL'].rstrip('/')}/dags/check_data_quality/runs/scheduled__")
    assert ":" not in href.rpartition("/")[2]


def test_a_failing_check_opens_by_keyboard_and_stays_open(visit: Visit, seeded: Seeded) -> None:
    page = visit(seeded.address)
    block = page.locator("details.failing", has_text=BROKEN)
    summary = block.locator("summary")
    expect(summary).to_contain_text("3 rows fail", timeout=20_000)
    expect(block.locator("tbody tr")).to_have_count(3)
    expect(block.locator("tbody tr").first).to_be_hidden()
    summary.focus()
    page.keyboard.press("Enter")
    expect(block.locator("tbody tr").first).to_be_visible()
    expect(block.locator("caption")).to_have_text("Keys of the failing rows, 3 of 3")
    for _ in range(2):
        with page.expect_response(UPDATE, timeout=REFRESH_S * 1000):
            pass
    page.wait_for_timeout(300)
    expect(block.locator("tbody tr").first).to_be_visible()


def test_what_changed_since_yesterday_is_told_both_ways(visit: Visit, seeded: Seeded) -> None:
    page = visit(seeded.address)
    rows = page.locator(".changes li")
    expect(rows.filter(has_text=BROKEN)).to_contain_text("fails now", timeout=20_000)
    expect(rows.filter(has_text=MENDED)).to_contain_text("passes again")
    expect(rows.filter(has_text=f"symbol_freshness of {STALE}")).to_contain_text("Then: last event")


def test_the_grid_has_all_results_failing_first(visit: Visit, seeded: Seeded, dashboard_url: str) -> None:
    page = visit(seeded.address)
    cells = page.locator("#results .ag-pinned-left-cols-container .ag-cell[col-id='state']")
    expect(cells.first).to_have_text("✕ critical", timeout=20_000)
    found = api(page, f"{dashboard_url}/api/v1/quality?run={seeded.newest}")
    rows = int(
        page.locator("#results [role='grid'], #results [role='treegrid']").first.get_attribute("aria-rowcount") or 0
    )
    # One row is the head.
    assert rows - 1 == len(found["results"]) + 2 * len(found["symbols"])


def test_a_point_of_the_pass_rate_chooses_its_run(visit: Visit, seeded: Seeded) -> None:
    page = visit(seeded.address)
    points = page.locator("#pass-rate .scatterlayer .trace .point")
    expect(points.nth(40)).to_be_attached(timeout=20_000)
    page.wait_for_timeout(500)
    box = points.nth(20).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page).not_to_have_url(re.compile(re.escape(seeded.address)))
    expect(page).to_have_url(re.compile(r"/quality\?run="))
    page.go_back()
    expect(page).to_have_url(re.compile(re.escape(seeded.address)))
    expect(heading(page)).to_have_text("2 critical checks fail, 1 warning")
    page.get_by_role("link", name="Older run").click()
    expect(page).not_to_have_url(re.compile(re.escape(seeded.address)))


def test_strips_tell_stale_symbols_by_a_cross_and_lead_to_one_symbol(visit: Visit, seeded: Seeded) -> None:
    page = visit(seeded.address)
    drawn = """(id) => {
        const figure = document.querySelector(id + ' .js-plotly-plot');
        return figure && figure.data ? {rows: figure.data[0].y, failed: figure.data[1].y} : null;
    }"""
    wait_until(page, lambda: page.evaluate(drawn, "#freshness-strip"), "the strip is drawn")
    strip = page.evaluate(drawn, "#freshness-strip")
    assert set(SYMBOLS) <= set(strip["rows"])
    assert STALE in strip["failed"]
    assert HOLES in page.evaluate(drawn, "#completeness-strip")["failed"]
    page.locator("#symbol-measures").get_by_role("link", name=STALE, exact=True).click()
    expect(page.locator("#symbol-course .js-plotly-plot")).to_be_visible()
    expect(page).to_have_url(re.compile(rf"symbol={STALE}"))
    page.get_by_role("link", name="7d", exact=True).click()
    expect(page).to_have_url(re.compile(r"span=7d"))
    page.reload()
    expect(page.locator("#symbol-course .js-plotly-plot")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="all symbols").click()
    expect(page.locator("#freshness-strip .js-plotly-plot")).to_be_visible()


def test_quarantine_and_archive_are_shown(visit: Visit, seeded: Seeded) -> None:
    page = visit(seeded.address)
    expect(page.locator("#quarantine caption")).to_have_text(re.compile(r"3 of 3 held"), timeout=20_000)
    expect(page.locator("#archive tbody tr", has_text="data_quality_results").locator("td").nth(3)).to_have_text("1")


def test_a_run_that_is_not_there_is_said(visit: Visit, seeded: Seeded) -> None:
    page = visit("/quality?run=nope")
    expect(heading(page)).to_have_text("There is no run nope", timeout=20_000)
    page.get_by_role("link", name="Newest run").click()
    expect(heading(page)).not_to_have_text("There is no run nope")


def test_the_header_leads_from_page_to_page(visit: Visit, seeded: Seeded) -> None:
    page = visit("/")
    pages = page.get_by_role("navigation", name="Pages")
    expect(pages.locator("[aria-current]")).to_have_text("Market", timeout=20_000)
    pages.get_by_role("link", name="Quality").click()
    expect(page).to_have_url(re.compile(r"/quality$"))
    expect(pages.locator("[aria-current]")).to_have_text("Quality", timeout=20_000)
    page.go_back()
    expect(page.locator(".watchlist")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("quality", 1440, 900, "dark"),
        ("quality-phone", 360, 740, "light"),
        ("quality-wide", 3840, 2160, "dark"),
    ],
)
def test_the_page_fits_every_screen(
    visit: Visit, seeded: Seeded, screenshots: Path, name: str, width: int, height: int, scheme: str
) -> None:
    page = visit(seeded.address, width=width, height=height, scheme=scheme)
    expect(page.locator("#completeness-strip .js-plotly-plot")).to_be_visible(timeout=20_000)
    expect(page.locator("#results .ag-cell[col-id='state']").first).to_be_visible()
    for details in page.locator("details.failing summary").all():
        details.click()
    page.wait_for_timeout(500)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.screenshot(path=screenshots / f"{name}.png", full_page=True)
    rate, since = (page.locator(each).bounding_box() for each in (".rate", ".since"))
    assert rate is not None
    assert since is not None
    # One below the other on a phone, beside each other on a desk; no part covers the next.
    if width < 860:
        assert rate["y"] + rate["height"] <= since["y"] + 1
    else:
        assert rate["y"] == since["y"]
    chart = page.locator("#pass-rate").bounding_box()
    assert chart is not None
    assert chart["y"] + chart["height"] <= rate["y"] + rate["height"] + 1
