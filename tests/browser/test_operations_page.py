"""The operations page in a real browser, on the running stack."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from include.operations.kafka_look import TOPICS
from tests.browser.chart import wait_until
from tests.browser.conftest import Visit

pytestmark = pytest.mark.browser

SLOW_MS = 30_000
#: The crypto market is open round the clock: its topic always has records.
CRYPTO = TOPICS[1]


def test_the_page_tells_how_the_stream_fares(visit: Visit) -> None:
    page = visit("/operations")
    expect(page.get_by_role("heading", level=1)).to_have_text("The stream is running", timeout=SLOW_MS)
    expect(page.locator(".overall .sign")).to_have_text("✓")
    expect(page.locator(".overall p")).to_contain_text(re.compile(r"lag [\d,]+ events · epoch \d+"))
    expect(page.locator("#operations-age")).to_have_text(re.compile(r"Stream is running · \d+s"))
    assert page.title() == "Operations · Market Data Platform"
    rows = page.locator("#stream-queries tbody tr")
    expect(rows.filter(has_text="events_crypto").locator("td").nth(0)).to_have_text(re.compile(r"[\d,]+ events"))
    expect(rows.filter(has_text="events_stock").locator("td").nth(4)).to_have_text(re.compile(r"\d+[smh] ago"))
    expect(page.locator("#stream-rate .scatterlayer .trace").first).to_be_attached()


def test_the_sources_tell_state_and_quota(visit: Visit) -> None:
    page = visit("/operations")
    yahoo = page.locator("#sources tbody tr").filter(has=page.get_by_role("rowheader", name="yahoo"))
    expect(yahoo.locator(".quota").first).to_contain_text(re.compile(r"\d+ of \d+ calls in a minute"), timeout=SLOW_MS)
    expect(yahoo.locator(".told .sign")).to_have_text(re.compile(r"[✓▲◐✕○]"))
    expect(page.locator("#source-switches tbody tr, #source-switches .notice").first).to_be_visible()


def test_all_topics_are_listed_with_their_offsets(visit: Visit) -> None:
    page = visit("/operations")
    table = page.locator("#topics tbody")
    for topic in TOPICS:
        row = table.locator("tr").filter(has=page.get_by_role("link", name=topic, exact=True))
        expect(row).to_have_count(1, timeout=SLOW_MS)
        expect(row.locator("td").nth(3)).to_have_text(re.compile(r"[\d,]+"))
    part = table.get_by_role("link", name="partition 0", exact=True)
    expect(part).to_have_count(2)
    crypto = table.locator("tr").filter(has_text="spark-events_crypto")
    expect(crypto.locator("td").nth(6)).to_have_text(re.compile(r"[\d,]+"), timeout=SLOW_MS)


def test_a_record_can_be_looked_at(visit: Visit) -> None:
    page = visit("/operations")
    page.locator("#topics").get_by_role("link", name=CRYPTO, exact=True).click(timeout=SLOW_MS)
    expect(page).to_have_url(re.compile(re.escape(f"topic={CRYPTO}")))
    values = page.locator("#records .value")
    expect(values.first).to_contain_text('"symbol"', timeout=SLOW_MS)
    offsets = page.locator("#records li")
    expect(offsets).to_have_count(10)
    shown = str(offsets.first.get_attribute("data-offset"))
    partition, _, offset = shown.partition("/")
    page.locator("#records-head").get_by_role("link", name=partition, exact=True).first.click()
    expect(page).to_have_url(re.compile(rf"partition={partition}"))
    page.get_by_label("From offset").fill(offset)
    page.get_by_role("button", name="Go", exact=True).click()
    expect(page).to_have_url(re.compile(rf"offset={offset}"))
    expect(offsets.first).to_have_attribute("data-offset", shown)
    page.get_by_role("link", name="← Older").click()
    expect(page).not_to_have_url(re.compile(rf"offset={offset}(&|$)"))
    page.reload()
    expect(values.first).to_be_visible(timeout=SLOW_MS)


def test_dead_letters_are_listed_and_nothing_is_published_unasked(visit: Visit) -> None:
    page = visit("/operations")
    listed = page.locator("#letters tbody tr, #letters .notice.calm")
    expect(listed.first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#letters-confirm")).to_be_hidden()
    page.get_by_role("button", name="Replay the chosen…").click()
    expect(page.locator("#letters-verdict")).to_contain_text("Nothing is chosen")
    expect(page.locator("#letters-confirm")).to_be_hidden()


def test_the_runs_of_dags_lead_to_airflow(visit: Visit, stack: Any) -> None:
    page = visit("/operations")
    runs = page.locator("#dag-runs .dag-run")
    expect(runs.first).to_be_visible(timeout=SLOW_MS)
    wait_until(page, lambda: "market_stream" in runs.all_inner_texts(), "a run of market_stream is shown", 90)
    href = runs.filter(has_text="market_stream").first.get_attribute("href") or ""
    assert href.startswith(f"{stack.env['AIRFLOW_URL'].rstrip('/')}/dags/market_stream/runs/")
    assert ":" not in href.rpartition("/")[2]
    assert stack.env["AIRFLOW_PASSWORD"] not in page.content()


def test_the_quality_page_tells_the_missing_minutes(visit: Visit) -> None:
    page = visit("/quality")
    told = page.locator("#data-gaps tbody tr, #data-gaps .notice.calm")
    expect(told.first).to_be_visible(timeout=SLOW_MS)


def _settled(page: Page) -> None:
    expect(page.locator("#topics tbody tr").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#dag-runs tbody tr").first).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("#records li").first).to_be_visible(timeout=SLOW_MS)
    page.wait_for_timeout(500)


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("operations-light", 1440, 900, "light"),
        ("operations-smallest", 360, 740, "light"),
        ("operations-wide", 3840, 2160, "dark"),
    ],
)
def test_the_page_fits_every_screen(
    visit: Visit, screenshots: Path, name: str, width: int, height: int, scheme: str
) -> None:
    page = visit(f"/operations?topic={CRYPTO}", width=width, height=height, scheme=scheme)
    _settled(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    page.screenshot(path=screenshots / f"{name}.png", full_page=True)
