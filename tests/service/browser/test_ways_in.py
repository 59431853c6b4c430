"""Each way to choose a photo, and the arrival of its caption word by word."""

import dataclasses
import math
import threading
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import captioner
from captioner.captioner import Caption, Captioner
from tests.support.visits import (
    DOGS,
    EXAMPLES,
    caption,
    choose,
    document_of,
    screenshot,
    wait_for_caption,
    words_of,
)


def beginning_of(caption: Caption, words: int) -> Caption:
    """Return the first words of a caption, with their figures."""
    fields = ("words", "tokens", "alphas", "gates", "word_log_probs", "word_labels", "word_confidences")
    label_maps = {index: label_map for index, label_map in caption.label_maps.items() if index < words}
    figures = {name: getattr(caption, name)[:words] for name in fields}
    return dataclasses.replace(caption, **figures, label_maps=label_maps)


class SteppedCaptioner(Captioner):
    """Announces no more words than it was allowed, so that the observed states do not depend on the clock."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self._words, self._let = 0.0, threading.Condition()

    def allow(self, words: float) -> None:
        with self._let:
            self._words = words
            self._let.notify_all()

    def caption_annotations(self, annotations, frames, options=None, on_words=None):
        captions = super().caption_annotations(annotations, frames, options)
        if on_words is not None:
            for image, (best, *_) in enumerate(captions):
                for end in range(1, len(best.words) + 1):
                    self._wait(end)
                    on_words(image, beginning_of(best, end))
            self._wait(math.inf)
        return captions

    def _wait(self, words: float) -> None:
        with self._let:
            self._let.wait_for(lambda: words <= self._words, timeout=20)


@pytest.fixture
def stepped_captioner() -> SteppedCaptioner:
    return SteppedCaptioner(captioner.load().bundle, "cpu")


@pytest.fixture
def holding(stepped_captioner, start):
    """A client of a service whose captions wait until they are allowed."""
    yield start(stepped_captioner).client
    stepped_captioner.allow(math.inf)


def shows_caption_of_the_api(page: Page, client) -> bool:
    document = document_of(page, client)
    return words_of(page) == [word["text"] for word in document["words"]] == document["caption"].split()


def test_a_chosen_photo_is_shown_and_captioned(visit, shipped):
    page = visit()
    caption(page, DOGS)
    assert shows_caption_of_the_api(page, shipped)
    text = document_of(page, shipped)["caption"]
    expect(page.locator("#photo-image")).to_have_attribute("alt", text)
    expect(page.locator("#status")).to_contain_text(f"Caption: {text}")
    expect(page).to_have_title(f"{text} – Captioner")


def test_a_photo_may_be_dropped_anywhere(visit, shipped):
    page = visit()
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(DOGS)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 900, "y": 820, "data": data})
    expect(page.locator("body.dragging")).to_be_attached()
    screenshot(page, "dragging", full_page=False)
    session.send("Input.dispatchDragEvent", {"type": "drop", "x": 900, "y": 820, "data": data})
    wait_for_caption(page)
    assert shows_caption_of_the_api(page, shipped)
    expect(page.locator("body.dragging")).not_to_be_attached()


def test_a_photo_may_be_pasted(visit, shipped):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.evaluate(
        """async () => {
            const picture = await createImageBitmap(await (await fetch("/examples/mountains.jpg")).blob());
            const canvas = new OffscreenCanvas(picture.width, picture.height);
            canvas.getContext("2d").drawImage(picture, 0, 0);
            const png = await canvas.convertToBlob({ type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
        }"""
    )
    page.keyboard.press("Control+V")
    wait_for_caption(page)
    assert shows_caption_of_the_api(page, shipped)
    assert document_of(page, shipped)["image"]["width"] == 640


def test_an_example_is_captioned_and_its_author_is_named(visit, shipped):
    page = visit()
    expect(page.locator(".example")).to_have_count(7)
    page.get_by_role("button", name="Two brown dogs").click()
    wait_for_caption(page)
    assert shows_caption_of_the_api(page, shipped)
    expect(page.locator("#credit")).to_have_text("Photo: Aitzol Berasategi (CC BY 4.0)")


def test_the_photo_appears_before_the_words_which_appear_one_by_one(visit, stepped_captioner, holding):
    page = visit(client=holding, reduced_motion="no-preference")
    choose(page, DOGS)
    expect(page.locator("#photo-image")).to_have_js_property("naturalWidth", 426)
    expect(page.locator("#progress")).to_be_visible()
    expect(page.locator("#status")).to_have_text("Captioning…")
    expect(page.locator(".word")).to_have_count(0)
    screenshot(page, "captioning", full_page=False)
    stepped_captioner.allow(3)
    expect(page.locator(".word")).to_have_count(3)
    early = words_of(page)
    expect(page.locator("#tools")).to_be_hidden()
    expect(page.locator("#heat")).to_have_attribute("data-shows", "map")
    screenshot(page, "words-coming", full_page=False)
    stepped_captioner.allow(math.inf)
    wait_for_caption(page)
    assert shows_caption_of_the_api(page, holding)
    assert early == words_of(page)[:3] and len(words_of(page)) > 3


def test_a_second_photo_cancels_the_first(visit, stepped_captioner, holding):
    page = visit(client=holding)
    failed = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    choose(page, DOGS)
    stepped_captioner.allow(1)
    expect(page.locator(".word")).to_have_count(1)
    choose(page, EXAMPLES / "mountains.jpg")
    stepped_captioner.allow(math.inf)
    wait_for_caption(page)
    assert document_of(page, holding)["image"]["width"] == 640
    assert shows_caption_of_the_api(page, holding)
    assert [url for url in failed if url.endswith("/api/captions?stream=1")], "the first request was not cancelled"


def test_a_format_that_the_browser_cannot_show_is_shown_as_a_copy(visit, shipped, tmp_path: Path):
    page, photo = visit(), tmp_path / "photo.tiff"
    Image.open(DOGS).save(photo)
    caption(page, photo)
    expect(page.locator("#no-preview")).to_be_hidden()
    expect(page.locator("#photo-image")).to_have_js_property("naturalWidth", 426)
    expect(page.locator("#photo-image")).to_have_attribute("src", document_of(page, shipped)["image"]["url"])
