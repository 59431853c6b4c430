"""The page on other screens, and with keyboard, screen readers and high contrast."""

import json

import pytest
from playwright.sync_api import expect

from captioner.config import DEFAULT_BUNDLE
from tests.support.visits import DOGS, PHONE, away, caption, check_accessible, check_fits, choose, screenshot

TABLET = {"viewport": {"width": 820, "height": 1180}}
SCREENS = {"desktop": {}, "tablet": TABLET, "phone": PHONE}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_every_view_fits_its_screen_and_is_accessible(visit, screen, scheme):
    page = visit(color_scheme=scheme, **SCREENS[screen])
    expect(page.locator(".example")).to_have_count(7)
    scores = json.loads((DEFAULT_BUNDLE / "metrics.json").read_text())
    expect(page.locator("#model")).to_contain_text(f"CIDEr {scores['test']['CIDEr']:.2f}")
    pointing = f"pointing {100 * scores['validation']['pointing']:.0f} %"
    expect(page.locator("#model")).to_contain_text(pointing)
    check_fits(page)
    check_accessible(page)
    screenshot(page, f"{screen}-{scheme}-start")

    caption(page, DOGS)
    away(page)
    check_accessible(page)
    page.locator(".word").nth(2).click()
    page.locator("#about summary").click()
    page.locator("#correct").click()
    away(page)
    check_fits(page)
    check_accessible(page)
    page.evaluate("() => scrollTo(0, 0)")
    screenshot(page, f"{screen}-{scheme}-result")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dialogs_and_problems_are_accessible(visit, scheme, tmp_path):
    page, file = visit(color_scheme=scheme, expected="Failed to load resource"), tmp_path / "letter.jpg"
    file.write_text("Dear photo")
    caption(page, DOGS)
    box = page.locator("#places").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    expect(page.locator("#cell")).to_be_visible()
    check_accessible(page)
    page.locator(".card").first.get_by_role("button", name="Delete").click()
    check_accessible(page)
    choose(page, file)
    expect(page.locator("#problem")).not_to_be_empty()
    check_accessible(page)
    screenshot(page, f"desktop-{scheme}-problem")


def test_the_reading_order_is_photo_caption_words_tools(visit):
    page = visit()
    caption(page, DOGS)
    ids = page.evaluate(
        """() => [...document.querySelectorAll("#result [id]")].map((node) => node.id)
            .filter((id) => ["photo-image", "caption-text", "words", "tools"].includes(id))"""
    )
    assert ids == ["photo-image", "caption-text", "words", "tools"]
    assert page.locator("h1").count() == 1
    for landmark in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(landmark)).to_have_count(1)


def test_forced_colours_keep_the_meaning_of_colours(visit):
    page = visit(forced_colors="active")
    caption(page, DOGS)
    page.locator(".word").nth(2).click()
    away(page)
    assert page.locator(".word").nth(2).evaluate("word => getComputedStyle(word).outlineStyle") == "solid"
    assert page.locator(".word").nth(3).evaluate("word => getComputedStyle(word).outlineStyle") == "none"
    screenshot(page, "forced-colours")
