"""Words and locations highlight each other: by mouse, by touch, by keyboard, and in a film."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.support.visits import (
    DOGS,
    away,
    caption,
    choose,
    document_of,
    heat_on,
    screenshot,
    shown_maps,
    wait_for_caption,
    words_of,
)


def shows_map(page: Page) -> bool:
    return bool(heat_on(page)[:, :, 3].any())


def reading(page: Page):
    return page.locator("#reading")


def reading_of(document: dict, index: int) -> str:
    """Return the page's wording for a word of a caption with a confidence."""
    word = document["words"][index]
    if word["map_of"] == "label":
        notes = [f"bright: the label “{word['label']}”"]
    else:
        spread = "attention spread out" if word["spread"] > 0.4 else ""
        named = f"named by the label “{word['label']}”" if word["label"] else ""
        notes = [", ".join(filter(None, (spread, named)))]
    wording = {"guess": "a guess"}.get(word["wording"], word["wording"])
    return " · ".join([word["text"], *(filter(None, (wording, *notes)))])


def test_pointing_at_a_word_shows_its_map_and_leaving_hides_it(page, shipped):
    assert not shows_map(page)
    page.locator(".word").nth(1).hover()
    expect(reading(page)).to_have_text(reading_of(document_of(page, shipped), 1))
    assert shows_map(page)
    away(page)
    expect(reading(page)).to_have_text("Point at a word or at the photo.")
    assert not shows_map(page)


def test_a_pinned_word_stays_until_it_is_unpinned(page, shipped):
    word, other = page.locator(".word").nth(7), page.locator(".word").nth(1)
    word.click()
    away(page)
    expect(word).to_have_attribute("aria-pressed", "true")
    expect(reading(page)).to_have_text(reading_of(document_of(page, shipped), 7) + " · pinned")
    pinned = heat_on(page)
    screenshot(page, "word-pinned", full_page=False)
    other.hover()
    assert not np.array_equal(heat_on(page), pinned)
    away(page)
    assert np.array_equal(heat_on(page), pinned)
    page.keyboard.press("Escape")
    expect(word).to_have_attribute("aria-pressed", "false")
    assert not shows_map(page)


REACHED = """() => {
  const { id, classList } = document.activeElement;
  return id || [...classList].filter((name) => ["word", "active"].includes(name)).join(" ");
}"""


def test_everything_is_reachable_by_keyboard(visit, shipped):
    page = visit()
    expect(page.locator(".example")).to_have_count(7)
    for _ in range(5):  # the page's name, the links to many photos and to retraining, the button, the first example
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    wait_for_caption(page)
    document = document_of(page, shipped)
    offered = ["language"] if shipped.get("/api/translators").json()["translators"] else []
    reached = []
    for _ in ("places", "word", *offered, "play"):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(REACHED))
    assert reached == ["places", "word active", *offered, "play"]
    for _ in (*offered, "word"):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    expect(reading(page)).to_have_text(reading_of(document, 1))
    page.keyboard.press("End")
    assert page.evaluate("() => document.activeElement.textContent").startswith(document["words"][-1]["text"])
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".word").nth(1)).to_have_attribute("aria-pressed", "true")
    screenshot(page, "keyboard", full_page=False)
    page.keyboard.press("Escape")
    expect(page.locator(".word").nth(1)).to_have_attribute("aria-pressed", "false")
    assert not shows_map(page)


def warmths(page: Page) -> list[float]:
    return page.locator(".word").evaluate_all(
        "words => words.map(word => Number(word.style.getPropertyValue('--warmth')))"
    )


def test_pointing_at_a_location_highlights_the_words_that_attended_to_it(page, shipped):
    maps = shown_maps(document_of(page, shipped))  # [words, rows, columns]
    row, column = np.unravel_index(maps[2].argmax(), maps[2].shape)
    box = page.locator("#places").bounding_box()
    page.mouse.move(
        box["x"] + (column + 0.5) / maps.shape[2] * box["width"], box["y"] + (row + 0.5) / maps.shape[1] * box["height"]
    )
    strongest = int(maps[:, row, column].argmax())
    word = words_of(page)[strongest]
    share = 100 * maps[strongest, row, column]
    figure = f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"
    expect(reading(page)).to_contain_text(f"Most attention here: “{word}”, with {figure}")
    warm = np.array(warmths(page))  # rounded to three digits, which do not separate small shares
    by_share = warm[np.argsort(maps[:, row, column])]
    assert warm[strongest] == 1 and (np.diff(by_share) >= 0).all() and len(set(by_share)) > 2
    cell = page.locator("#cell").bounding_box()
    assert cell["x"] == pytest.approx(box["x"] + column / maps.shape[2] * box["width"], abs=1)
    assert cell["y"] == pytest.approx(box["y"] + row / maps.shape[1] * box["height"], abs=1)
    screenshot(page, "place-pointed-at", full_page=False)
    away(page)
    expect(page.locator("#cell")).to_be_hidden()
    assert not any(warmths(page))


def test_locations_are_reachable_by_arrow_keys(page, shipped):
    maps = shown_maps(document_of(page, shipped))
    page.locator("#places").focus()
    page.keyboard.press("ArrowUp")  # moves to the middle
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    row, column = (maps.shape[1] - 1) // 2 - 1, (maps.shape[2] - 1) // 2 - 1
    box, cell = page.locator("#places").bounding_box(), page.locator("#cell").bounding_box()
    assert cell["x"] - box["x"] == pytest.approx(column / maps.shape[2] * box["width"], abs=1)
    assert cell["y"] - box["y"] == pytest.approx(row / maps.shape[1] * box["height"], abs=1)
    text = reading(page).inner_text()
    expect(page.locator("#status")).to_have_text(text)  # also for screen readers
    for _ in range(20):
        page.keyboard.press("ArrowUp")
    assert page.locator("#cell").bounding_box()["y"] == pytest.approx(box["y"], abs=1)


def test_the_film_shows_every_word_and_can_be_paused(visit):
    page = visit(reduced_motion="no-preference")
    caption(page, DOGS)
    page.evaluate(
        """() => {
            window.seen = [];
            const look = () => window.seen.push(
                [...document.querySelectorAll(".word")].findIndex((word) => word.classList.contains("active")));
            new MutationObserver(look).observe(document.querySelector("#reading"), { childList: true });
        }"""
    )
    page.locator("#history-heading").click()  # no button has the focus
    page.keyboard.press("k")
    expect(page.locator("#play-label")).to_have_text("Pause")
    expect(page.locator(".word").nth(1)).to_have_class("word active")
    page.keyboard.press(" ")
    expect(page.locator("#play-label")).to_have_text("Play")
    expect(page.locator(".word").nth(1)).to_have_class("word active")
    assert shows_map(page)
    page.locator("#play").click()
    away(page)
    wait_for_caption(page)
    shown_words = page.evaluate("() => window.seen")
    words = len(words_of(page))
    changes = [index for step, index in enumerate(shown_words) if step == 0 or index != shown_words[step - 1]]
    assert changes == [*range(words), -1]


def test_with_reduced_motion_the_film_waits_for_the_button_and_does_not_fade(page):
    expect(page.locator("#play-label")).to_have_text("Play")
    page.locator("#play").click()
    expect(page.locator("#play-label")).to_have_text("Pause")
    assert heat_on(page)[:, :, 3].max() == pytest.approx(255 * 0.6, abs=1)  # at full strength at once


def test_a_tap_shows_a_word(visit):
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    expect(page.locator("#camera-button")).to_be_visible()
    choose(page, DOGS)
    wait_for_caption(page)
    page.locator(".word").nth(2).tap()
    assert shows_map(page)
    page.locator(".word").nth(2).tap()
    assert not shows_map(page)
    page.locator("#places").tap()
    expect(page.locator("#cell")).to_be_visible()


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ({"probability": 0.62, "gate": 0.48, "spread": 0.1}, "62 % sure · gate 0.48"),
        ({"probability": 0.62, "gate": 0.48, "spread": 0.7}, "62 % sure · gate 0.48, attention spread out"),
    ],
)
def test_words_with_uniform_attention_say_so(page, word, text):
    script = """async (word) => {
      const main = document.querySelector('script[src$="main.js"]').src;
      return (await import(new URL("figures.js", main))).wordFigures(word);
    }"""
    assert page.evaluate(script, word) == text
