"""Warnings about a photo are shown beside its caption, also for screen readers."""

from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.support.visits import DOGS, caption, document_of, screenshot, words_of


def test_warnings_of_blank_and_truncated_pictures_are_shown(visit, shipped, tmp_path):
    page = visit()
    blank, cut = tmp_path / "blank.png", tmp_path / "cut.jpg"
    Image.new("RGB", (480, 360)).save(blank)
    cut.write_bytes(DOGS.read_bytes()[: DOGS.stat().st_size * 2 // 3])
    warnings = page.get_by_role("list", name="Reasons to doubt the caption")

    caption(page, blank)
    expect(warnings.get_by_role("listitem")).to_have_text([document_of(page, shipped)["warnings"][0]["message"]])
    expect(page.locator("#status")).to_contain_text(f"{warnings.inner_text()} Caption: {' '.join(words_of(page))}")
    assert Axe().run(page).response["violations"] == []
    screenshot(page, "warning-blank", full_page=False)
    address = page.url

    caption(page, cut)
    expect(warnings).to_contain_text("The file is cut short: about")
    screenshot(page, "warning-cut-short", full_page=False)

    caption(page, DOGS)
    expect(warnings).to_be_hidden()
    page.goto(address)  # from the history
    expect(warnings).to_contain_text("nothing to describe")
    page.locator("#home").click()
    expect(warnings).to_be_hidden()
