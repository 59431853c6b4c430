"""The page shows occlusion maps on request and keeps them apart from the attention."""

import io
import json
import re
import time

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from captioner.overlays import heat_map
from tests.service.browser.test_heat import frame_of
from tests.service.browser.test_looks import PHONE, check_accessible, check_fits
from tests.support.visits import DOGS, EXAMPLES, away, caption, document_of, heat_on, screenshot, shown_maps, words_of

LOOKED, SPEAKS = "Attention", "Why this word"
ASKED = re.compile(r"/api/captions/[0-9a-f]{32}/evidence")


def choose_evidence(page: Page) -> None:
    page.get_by_label(SPEAKS).check()
    expect(page.locator("#status")).to_have_text("Each word now shows its occlusion map.")
    expect(page.locator("#maps-loading")).to_be_hidden()


def expect_attention(page: Page) -> None:
    """Expect the pinned word to show its attention, not its occlusion map."""
    expect(page.locator("#reading")).to_contain_text("pinned")
    expect(page.locator("#reading")).not_to_contain_text("depends on")


def evidence_of(page: Page, client, rank: int = 1) -> np.ndarray:
    address = f"/api/captions/{document_of(page, client)['id']}/evidence?caption={rank}"
    return np.array(client.get(address).raise_for_status().json()["maps"])  # [words, rows, columns]


def check_heat(page: Page, client, map_: np.ndarray) -> None:
    opacities = heat_on(page)[:, :, 3] / 255
    height, width = opacities.shape
    expected = heat_map(map_.astype(np.float32), frame_of(document_of(page, client)), (width, height))
    np.testing.assert_allclose(opacities, 0.6 * expected**0.75, atol=0.02)


class HeldRequests:
    """Requests for occlusion maps that wait until the test releases them."""

    def __init__(self, page: Page):
        self._page, self._routes = page, []
        page.route(ASKED, lambda route: self._routes.append(route))

    def wait_for(self, number: int) -> None:
        """Wait until the page has sent this many: it shows that it loads before its request arrives."""
        deadline = time.monotonic() + 30
        while len(self._routes) < number:
            assert time.monotonic() < deadline, f"the page sent {len(self._routes)} requests, not {number}"
            self._page.wait_for_timeout(20)

    def release(self, number: int) -> None:
        """Answer the request of this number, counted from 1, once it has arrived."""
        self.wait_for(number)
        self._routes[number - 1].continue_()


def spread(map_: np.ndarray) -> float:
    weights = map_[map_ > 0]
    return float(np.exp(-(weights * np.log(weights)).sum()) / map_.size)


def pointed_word(maps: np.ndarray) -> int:
    """Return the first word whose occlusion map has a clear peak."""
    return next(index for index, map_ in enumerate(maps) if spread(map_) < 0.35)


def test_words_show_their_occlusion_maps_and_name_them(page, shipped):
    maps, document = evidence_of(page, shipped), document_of(page, shipped)
    index = pointed_word(maps)
    word = document["words"][index]
    page.locator(".word").nth(index).click()
    away(page)
    check_heat(page, shipped, shown_maps(document)[index])
    expect_attention(page)
    choose_evidence(page)
    check_heat(page, shipped, maps[index])
    says = page.locator(f"#words-{index + 1}-says")
    text = f"bright: “{word['text']}” depends on it"
    expect(page.locator("#reading")).to_contain_text(f"{text} · pinned")  # a pinned word stays pinned
    expect(says).to_contain_text(text)
    expect(page.get_by_role("group", name="each shows its occlusion map")).to_be_visible()
    check_accessible(page)
    screenshot(page, "evidence")
    page.get_by_label(LOOKED, exact=True).check()
    expect(page.locator("#status")).to_have_text("Each word now shows its attention map.")
    check_heat(page, shipped, shown_maps(document)[index])
    expect_attention(page)
    expect(says).not_to_contain_text(text)
    expect(page.get_by_role("group", name="each shows its attention map")).to_be_visible()


@pytest.mark.parametrize(
    ("map_", "text"),
    [
        ([[0.9, 0.1], [0.0, 0.0]], "62 % sure · bright: “dog” depends on it"),
        ([[0.25, 0.25], [0.25, 0.25]], "62 % sure · “dog” depends on no location in particular"),
    ],
)
def test_a_words_reading_says_whether_its_occlusion_map_has_a_peak(page, map_, text):
    script = """async (word) => {
      const main = document.querySelector('script[src$="main.js"]').src;
      return (await import(new URL("figures.js", main))).wordFigures(word);
    }"""
    word = {"text": "dog", "probability": 0.62, "gate": 0.48, "spread": 0.1, "kind": "evidence", "map": map_}
    assert page.evaluate(script, word) == text


def point_at(page: Page, maps: np.ndarray, row: int, column: int) -> None:
    box = page.locator("#places").bounding_box()
    x, y = (column + 0.5) / maps.shape[2], (row + 0.5) / maps.shape[1]
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_a_location_names_the_word_it_supports_most(page, shipped):
    maps = evidence_of(page, shipped)
    choose_evidence(page)
    row, column = np.unravel_index(maps.max(axis=0).argmax(), maps.shape[1:])
    point_at(page, maps, row, column)
    strongest = int(maps[:, row, column].argmax())
    share = f"{maps[strongest, row, column] * 100:.{0 if maps.max() >= 0.1 else 1}f} %"
    word = words_of(page)[strongest]
    expect(page.locator("#reading")).to_have_text(f"“{word}” depends most on this location, with {share} of its map.")
    warmths = page.locator(".word").evaluate_all(
        "words => words.map(word => Number(word.style.getPropertyValue('--warmth')))"
    )
    assert int(np.argmax(warmths)) == strongest
    screenshot(page, "evidence-place", full_page=False)
    page.get_by_label(LOOKED, exact=True).check()
    point_at(page, maps, row, column)
    expect(page.locator("#reading")).to_contain_text("Most attention here")


def test_a_location_that_supports_no_word_says_so(page):
    script = """async (words) => {
      const main = document.querySelector('script[src$="main.js"]').src;
      return (await import(new URL("caption-view.js", main))).answerAt(words, [0, 0]).text;
    }"""
    word = {"text": "dog", "kind": "evidence", "map": [[0.1, 0.9], [0, 0]]}
    assert page.evaluate(script, [word]) == "No word depends much on this location."
    assert page.evaluate(script, [word | {"kind": "attention"}]) == "No word has much attention here."


def test_saved_pictures_equal_the_shown_ones(page, shipped):
    document = document_of(page, shipped)
    word = document["words"][2]
    page.locator(".word").nth(2).click()
    for kind, query, suffix in ((SPEAKS, "&maps=evidence", "-evidence"), (LOOKED, "", "")):
        page.get_by_label(kind, exact=True).check()
        expect(page.locator("#figure")).to_have_attribute("href", f"{document['figure']}?style=smooth{query}")
        expect(page.locator("#save-overlay")).to_have_attribute(
            "href", f"{word['overlay']}?style=smooth&opacity=0.6{query}"
        )
        for link, name in (("#figure", "caption-figure"), ("#save-overlay", word["text"])):
            with page.expect_download() as download:
                page.locator(link).click()
            assert download.value.suggested_filename == f"{name}{suffix}.png"
            saved = Image.open(io.BytesIO(download.value.path().read_bytes()))
            expected = Image.open(io.BytesIO(shipped.get(page.locator(link).get_attribute("href")).content))
            assert saved.tobytes() == expected.tobytes()


def test_maps_are_requested_once_per_caption_and_alternatives_have_their_own(page, shipped):
    requests = []
    page.on("request", lambda request: ASKED.search(request.url) and requests.append(request.url))
    choose_evidence(page)
    page.get_by_label(LOOKED, exact=True).check()
    page.get_by_label(SPEAKS).check()
    assert len(requests) == 1
    page.locator(".alternative").nth(1).click()  # the choice holds for it as well
    second = document_of(page, shipped)["alternatives"][0]
    expect(page.locator("#figure")).to_have_attribute("href", f"{second['figure']}&style=smooth&maps=evidence")
    page.locator(".word").nth(1).click()
    away(page)
    check_heat(page, shipped, evidence_of(page, shipped, rank=2)[1])
    page.locator(".alternative").nth(0).click()
    page.locator(".word").nth(1).click()
    away(page)
    check_heat(page, shipped, evidence_of(page, shipped)[1])
    assert [url.rpartition("=")[2] for url in requests] == ["1", "2"]


def test_a_new_photo_starts_with_the_attention(page, shipped):
    choose_evidence(page)
    expect(page.locator("#maps-evidence")).to_be_checked()
    first = page.url
    caption(page, EXAMPLES / "mountains.jpg")
    assert page.url != first
    expect(page.get_by_label(LOOKED, exact=True)).to_be_checked()
    page.locator(".word").nth(1).click()
    expect_attention(page)
    assert "maps=" not in page.locator("#figure").get_attribute("href")


def test_the_attention_is_shown_while_the_maps_are_computed(page, shipped):
    held = HeldRequests(page)
    page.locator(".word").nth(1).click()
    page.get_by_label(SPEAKS).check()
    expect(page.locator("#maps-loading")).to_be_visible()
    expect(page.locator("#status")).to_have_text("Computing the occlusion maps…")
    expect_attention(page)
    assert "maps=" not in page.locator("#figure").get_attribute("href")
    check_accessible(page)
    held.release(1)
    expect(page.locator("#maps-loading")).to_be_hidden()
    expect(page.locator("#reading")).to_contain_text("depends on")


def test_switching_back_during_the_computation_keeps_the_attention(page):
    held = HeldRequests(page)
    page.get_by_label(SPEAKS).check()
    expect(page.locator("#maps-loading")).to_be_visible()
    held.wait_for(1)
    page.get_by_label(LOOKED, exact=True).check()
    expect(page.locator("#maps-loading")).to_be_hidden()
    page.locator(".word").nth(1).click()
    expect_attention(page)
    expect(page.locator("#maps-problem")).to_be_empty()
    page.get_by_label(SPEAKS).check()  # and can be chosen again
    expect(page.locator("#maps-loading")).to_be_visible()
    held.release(2)
    expect(page.locator("#reading")).to_contain_text("depends on")


def test_a_problem_is_shown_and_the_choice_reverts(visit, shipped):
    page = visit(expected="Failed to load resource")
    caption(page, DOGS)
    detail = "Caption the photo again, says the test."
    body = json.dumps({"title": "Conflict", "status": 409, "detail": detail})
    page.route(ASKED, lambda route: route.fulfill(status=409, content_type="application/problem+json", body=body))
    page.locator(".word").nth(1).click()
    page.get_by_label(SPEAKS).click()  # not check(): the choice may have reverted before it verifies
    expect(page.locator("#maps-problem[role=alert]")).to_have_text(detail)
    expect(page.get_by_label(LOOKED, exact=True)).to_be_checked()
    expect(page.locator("#maps-loading")).to_be_hidden()
    expect_attention(page)
    assert "maps=" not in page.locator("#figure").get_attribute("href")
    check_accessible(page)
    screenshot(page, "evidence-problem")
    page.unroute(ASKED)
    choose_evidence(page)
    expect(page.locator("#maps-problem")).to_be_empty()
    expect(page.locator("#reading")).to_contain_text("depends on")


def test_the_film_continues_with_the_other_maps(visit):
    page = visit(reduced_motion="no-preference")
    caption(page, DOGS)
    choose_evidence(page)
    page.locator("#play").click()
    expect(page.locator(".word").nth(1)).to_have_class("word active")
    expect(page.locator("#reading")).to_contain_text("depends on")
    page.get_by_label(LOOKED, exact=True).check()
    expect(page.locator("#play-label")).to_have_text("Pause")
    expect(page.locator("#reading")).not_to_contain_text("depends on")


def test_occlusion_maps_can_be_chosen_by_keyboard(page):
    page.locator("#maps-attention").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#maps-evidence")).to_be_checked()
    expect(page.locator("#status")).to_have_text("Each word now shows its occlusion map.")
    page.locator("#places").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("#reading")).to_contain_text("on this location")
    expect(page.locator("#status")).to_have_text(page.locator("#reading").inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_occlusion_maps_fit_a_phone_in_both_colour_schemes(visit, scheme):
    page = visit(color_scheme=scheme, **PHONE)
    caption(page, DOGS)
    page.get_by_label(SPEAKS).check()
    expect(page.locator("#status")).to_have_text("Each word now shows its occlusion map.")
    page.locator(".word").nth(2).tap()
    page.locator("#about summary").click()
    check_fits(page)
    check_accessible(page)
    screenshot(page, f"evidence-phone-{scheme}")
