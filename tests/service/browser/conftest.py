"""The real service with the shipped captioner, and a real browser."""

import json
import os
import shutil
from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import captioner
from service.settings import Settings
from tests.support.serving import serving
from tests.support.visits import DOGS, BrowserLog, away, caption

# Without motion no film starts when a caption arrives, which would take seconds in every test.
DEFAULTS = {"viewport": {"width": 1280, "height": 860}, "locale": "en-GB", "reduced_motion": "reduce"}
PATIENCE_MS = 60_000
"""A generous limit, as tests share the processor."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


@pytest.fixture(scope="session")
def shipped(tmp_path_factory) -> Iterator[httpx.Client]:
    """A client of a service with the shipped captioner; `base_url` is the page's URL."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
    with serving(settings, captioner.load(device="cpu")) as running:
        yield running.client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One per test file: while Playwright runs, no other code in this thread can use asyncio."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        message = "there is no Chromium or Chrome here: install one, or name it by the environment variable CHROMIUM"
        (pytest.fail if os.environ.get("REQUIRE_BROWSER") == "1" else pytest.skip)(message)
    # Chromium's sandbox does not work for root, the usual user in containers.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, shipped, start) -> Iterator[Callable[..., Page]]:
    """Open the page: `visit(path="/", client=shipped, expected=None, knows_token=True, **context)` -> Page.

    It depends on `start` so that pages close before the test's own service stops: they may still be loading.
    client: of the service to visit. knows_token: whether the browser has the token. expected: text that every console
    message must contain; None allows no messages.
    context: options of the browser's context. At the end, no request may have gone to another host, and the console
    must be empty.
    """
    visits = []

    def open_page(
        path: str = "/",
        client: httpx.Client = shipped,
        expected: str | None = None,
        knows_token: bool = True,
        **options,
    ) -> Page:
        context = browser.new_context(**(DEFAULTS | options))
        if knows_token:
            token = client.headers["Authorization"].split()[1]
            keep = f"localStorage.setItem('captioner.token', {json.dumps(token)})"
            context.add_init_script(f"if (location.protocol === 'http:') {keep}")
        context.set_default_timeout(PATIENCE_MS)
        url = str(client.base_url)
        log = BrowserLog(context, url)
        visits.append((context, log, expected))
        page = context.new_page()
        page.goto(url.rstrip("/") + path)
        return page

    yield open_page
    for context, log, expected in visits:
        log.check(expected)
        context.close()


@pytest.fixture
def page(visit) -> Page:
    """The page with the captions of a photo, and the mouse over nothing."""
    page = visit()
    caption(page, DOGS)
    away(page)
    return page


@pytest.fixture(autouse=True)
def empty_history(shipped) -> None:
    while captions := shipped.get("/api/captions?per_page=100").json()["captions"]:
        for entry in captions:
            shipped.delete(f"/api/captions/{entry['id']}").raise_for_status()
