"""Drop photos on the page of a running service in Chromium, and measure what a visitor of the page notices."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LONG_TASK_MS = 200
"""Time for which the page may not react to its visitor."""
_SECONDS = 1800
_SCROLL_MS, _SCROLL_PIXELS = 500, 400
_WATCH = """
  window.drop = { started: null, first: null, tasks: [] };
  new PerformanceObserver((list) => drop.tasks.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: "longtask", buffered: true });
  addEventListener("change", ({ target }) => { if (target.type === "file") drop.started = performance.now(); }, true);
  new MutationObserver(() => {
    if (drop.first === null && document.querySelector('.cell-photo[data-state="captioned"]'))
      drop.first = performance.now();
  }).observe(document, { subtree: true, childList: true, attributeFilter: ["data-state"] });
"""
_IS_DONE = """(count) => {
  const [again, sending, text] = ["caption-again", "sending", "progress-text"].map((id) => document.getElementById(id));
  return again && !again.hidden && sending.hidden && text.textContent.startsWith(`${count} photo`);
}"""


@dataclass(frozen=True)
class Drop:
    """Photos that were dropped on the page at once."""

    first_caption_seconds: float
    """From the drop until the page shows a caption."""
    seconds: float
    """From the drop until the page shows that all photos are captioned."""
    long_tasks: int
    """Number of tasks of the page that took more than `LONG_TASK_MS`."""
    longest_task_ms: float
    """Of those over 50 ms, which the browser reports; 0 if there is none."""


def browser_path() -> str | None:
    """Return the path of Chromium or Chrome; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def drop_photos(url: str, paths: Sequence[Path], browser: str) -> Drop:
    """Drop photos on the page of collections, and scroll through the grid while it fills.

    url: of the service. paths: of photos with different names.
    """
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox does not work for root, the usual user in containers.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=browser, args=arguments) as chrome:
        page = chrome.new_page(viewport={"width": 1280, "height": 860})
        page.add_init_script(_WATCH)
        page.goto(f"{url}/collections")
        page.locator("#file").set_input_files(paths)
        for _ in range(1000 * _SECONDS // _SCROLL_MS):
            page.wait_for_timeout(_SCROLL_MS)
            if page.evaluate(_IS_DONE, len(paths)):
                break
            page.mouse.wheel(0, _SCROLL_PIXELS)
        else:
            raise RuntimeError(f"the photos were not captioned within {_SECONDS} s: {page.inner_text('main')[:300]}")
        ended = page.evaluate("() => performance.now()")
        seen = page.evaluate("() => window.drop")
        return Drop(
            first_caption_seconds=round((seen["first"] - seen["started"]) / 1000, 2),
            seconds=round((ended - seen["started"]) / 1000, 2),
            long_tasks=sum(duration > LONG_TASK_MS for duration in seen["tasks"]),
            longest_task_ms=round(max(seen["tasks"], default=0), 1),
        )
