"""Actions of a visitor of the page, and what the page shows."""

import base64
import io
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import BrowserContext, Locator, Page, expect

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
DOGS = EXAMPLES / "dogs.jpg"
SCREENSHOTS = ROOT / "out" / "screenshots"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
"""Options of a browser's context."""


class BrowserLog:
    """The requests and the console messages of a browser context."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url, self.wrong, self.foreign, self.requests = url, [], [], []
        context.on("request", self._request)
        context.on("console", lambda message: message.type in ("error", "warning") and self.wrong.append(message.text))
        context.on("weberror", lambda error: self.wrong.append(str(error.error)))

    def _request(self, request) -> None:
        self.requests.append(request)
        address = urlsplit(request.url)
        if address.scheme not in ("blob", "data") and address.netloc != urlsplit(self.url).netloc:
            self.foreign.append(request.url)

    def check(self, expected: str | None) -> None:
        """expected: text that every console message must contain; None allows none."""
        assert not self.foreign, "the page sent a request to another host"
        wrong = [text for text in self.wrong if expected is None or expected not in text]
        assert not wrong, wrong


def check_accessible(page: Page) -> None:
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def check_fits(page: Page) -> None:
    """Check that nothing scrolls sideways."""
    width = page.viewport_size["width"]
    if page.evaluate("() => document.documentElement.scrollWidth") > width:
        beyond = "all.filter((one) => one.getBoundingClientRect().right > width)"
        elements = page.locator("body *").evaluate_all(
            f"(all, width) => {beyond}.map((one) => one.cloneNode().outerHTML)", width
        )
        raise AssertionError(f"wider than the screen: {elements}")


def choose(page: Page, photo: Path) -> None:
    """Choose a photo in the browser's file chooser."""
    start = page.locator("#choose")
    with page.expect_file_chooser() as chooser:
        (start if start.is_visible() else page.locator("#again")).click()
    chooser.value.set_files(photo)


def wait_for_caption(page: Page) -> None:
    """Wait until the whole caption is shown and its film has ended."""
    expect(page.locator("#tools")).to_be_visible(timeout=30_000)
    expect(page.locator("#play-label")).to_have_text("Play", timeout=30_000)
    expect(page.locator("#heat")).to_have_attribute("data-shows", "nothing")


def caption(page: Page, photo: Path) -> None:
    choose(page, photo)
    wait_for_caption(page)


def words_of(page: Page) -> list[str]:
    return page.locator(".word-text").all_inner_texts()


def document_of(page: Page, client: httpx.Client) -> dict:
    """Return the API's document of the shown caption."""
    return client.get(f"/api/captions/{urlsplit(page.url).fragment}").raise_for_status().json()


def shown_maps(document: dict) -> np.ndarray:
    """Return the maps that a page shows for the words of a caption: float64 [words, rows, columns]."""
    maps = document["alphas"]["maps"]
    return np.array([word["label_map"] or maps[index] for index, word in enumerate(document["words"])])


def heat_on(page: Page) -> np.ndarray:
    """Return the pixels of the heat map's canvas: uint8 [height, width, 4], colours not premultiplied."""
    return heat_pixels(page.locator("#heat"))


def heat_pixels(canvas: Locator) -> np.ndarray:
    """Return the pixels of a canvas, likewise."""
    url = canvas.evaluate("canvas => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def away(page: Page) -> None:
    """Move the mouse to an empty area."""
    page.mouse.move(2, 2)


def screenshot(page: Page, name: str, full_page: bool = True) -> None:
    """Save a screenshot in out/screenshots, for review."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)
