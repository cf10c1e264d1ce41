"""A real browser on the running stack's page. Every visit is watched: no error, no other host."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Page, Request, sync_playwright

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
_LOCAL_SCHEMES = ("data", "blob", "about")
Visit = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("no chromium on the path: install the system's package `chromium`")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def dashboard_url(stack: Any) -> str:
    return str(stack.env["DASHBOARD_URL"]).rstrip("/")


@pytest.fixture(scope="session")
def symbols(dashboard_url: str) -> list[str]:
    """What the stack collects, in the order of the page."""
    listed = httpx2.get(f"{dashboard_url}/api/v1/instruments").json()["instruments"]
    return [each["symbol"] for each in listed]


@pytest.fixture
def visit(browser: Browser, dashboard_url: str) -> Iterator[Visit]:
    """`visit("/?symbol=AAPL", width=…, height=…, scheme=…)` opens a page of its own."""
    faults: list[str] = []
    home = urlsplit(dashboard_url)
    contexts = []

    def check(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in _LOCAL_SCHEMES and address.netloc != home.netloc:
            faults.append(f"request to another host: {request.url}")

    def open_page(
        path: str = "/", *, width: int = 1440, height: int = 900, scheme: Any = "dark", bypass_csp: bool = False
    ) -> Page:
        # The policy forbids scripts of ours in the page; only axe-core needs one.
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=bypass_csp
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", check)
        page.on(
            "websocket",
            lambda socket: faults.extend(
                [] if urlsplit(socket.url).netloc == home.netloc else [f"websocket to {socket.url}"]
            ),
        )
        page.on("pageerror", lambda error: faults.append(f"uncaught: {error}"))
        page.on(
            "console",
            lambda message: faults.append(f"console: {message.text}") if message.type == "error" else None,
        )
        page.goto(dashboard_url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def screenshots(pytestconfig: pytest.Config) -> Path:
    folder = pytestconfig.rootpath / "test-results" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
