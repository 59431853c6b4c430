"""Alternatives, corrections, saved files, and the history of captions on the page."""

import io

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.pictures import picture_bytes
from tests.support.visits import DOGS, EXAMPLES, away, caption, document_of, screenshot, words_of


@pytest.fixture
def page(visit) -> Page:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    caption(page, DOGS)
    return page


def test_alternatives_can_be_shown_with_their_own_maps(page, shipped):
    document = document_of(page, shipped)
    choices = page.locator(".alternative")
    expect(choices).to_have_count(3)
    second = document["alternatives"][0]
    choices.nth(1).click()
    assert words_of(page) == second["caption"].split()
    expect(choices.nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#photo-image")).to_have_attribute("alt", second["caption"])
    expect(page.locator("#figure")).to_have_attribute("href", f"{second['figure']}&style=smooth")
    page.locator(".word").nth(3).click()
    expect(page.locator("#save-overlay")).to_have_attribute(
        "href", f"{second['words'][3]['overlay']}&style=smooth&opacity=0.6"
    )
    away(page)
    screenshot(page, "alternative")


def test_pictures_can_be_saved_and_the_caption_copied(page, shipped):
    page.locator(".word").nth(2).click()
    for link, name in (("#figure", "caption-figure.png"), ("#save-overlay", "dog.png")):
        with page.expect_download() as download:
            page.locator(link).click()
        assert download.value.suggested_filename == name
        assert download.value.path().read_bytes().startswith(b"\x89PNG")
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == document_of(page, shipped)["caption"]


def test_a_correction_is_kept_and_can_be_withdrawn(page, shipped):
    page.locator("#correct").click()
    expect(page.locator("#correction-text")).to_be_focused()
    expect(page.locator("#correction-text")).to_have_value(document_of(page, shipped)["caption"])
    screenshot(page, "correcting")
    page.keyboard.press("Escape")
    expect(page.locator("#correction-form")).to_be_hidden()
    expect(page.locator("#correct")).to_be_focused()
    assert document_of(page, shipped)["correction"] is None

    page.locator("#correct").click()
    page.locator("#correction-text").fill("  two dogs look out of a <b>house</b> ")
    page.get_by_role("button", name="Save", exact=True).click()
    text = "two dogs look out of a <b>house</b>"
    expect(page.locator("#correction-now")).to_have_text(text)
    expect(page.locator("#status")).to_have_text("Your correction was saved.")
    expect(page.locator(".card-text").first).to_have_text(text)
    page.reload()
    expect(page.locator("#correction-now")).to_have_text(text)
    expect(page.locator(".card a").first).to_have_attribute("aria-current", "true")
    assert document_of(page, shipped)["correction"]["text"] == text
    screenshot(page, "corrected")

    page.locator("#take-back").click()
    expect(page.locator("#correction-now")).to_be_hidden()
    assert document_of(page, shipped)["correction"] is None


def test_a_caption_has_its_own_url(page, shipped, visit):
    words, address = words_of(page), page.url
    page.locator("#home").click()
    expect(page.locator("#start")).to_be_visible()
    assert not page.url.endswith(address[-32:])
    page.go_back()
    expect(page.locator(".word")).to_have_count(len(words))
    caption(page, EXAMPLES / "mountains.jpg")
    assert page.url != address
    page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator(".word")).to_have_count(len(words))
    other = visit(f"/#{address[-32:]}")
    expect(other.locator(".word")).to_have_count(len(words))
    assert words_of(other) == words


def add_photos(client, count: int) -> None:
    for seed in range(count):
        client.post("/api/captions", files={"image": ("p.jpg", picture_bytes(seed=seed))}).raise_for_status()


def test_the_history_loads_more_opens_captions_and_deletes_them(visit, shipped):
    page = visit()
    expect(page.locator("#history-empty")).to_be_visible()
    add_photos(shipped, 14)
    page.reload()
    cards = page.locator(".card")
    expect(cards).to_have_count(12)
    expect(page.locator("#history-empty")).to_be_hidden()
    screenshot(page, "history")
    for _ in range(3):  # deletions must not make the next page skip captions
        cards.first.get_by_role("button", name="Delete").click()
        cards.first.get_by_role("button", name="Delete it for good").click()
        expect(page.locator("#status")).to_have_text("Deleted.")
        page.locator("#status").evaluate("status => status.replaceChildren()")
    expect(cards).to_have_count(9)
    page.locator("#history-more").click()
    expect(cards).to_have_count(11)
    expect(page.locator("#history-more")).to_be_hidden()
    entries = shipped.get("/api/captions?per_page=20").json()["captions"]
    hrefs = cards.locator("a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert hrefs == [f"#{entry['id']}" for entry in entries]

    cards.nth(4).locator("a").click()
    expect(page.locator(".word")).not_to_have_count(0)
    assert page.url.endswith(entries[4]["id"])
    expect(cards.nth(4).locator("a")).to_have_attribute("aria-current", "true")
    picture = Image.open(io.BytesIO(shipped.get(entries[4]["image"]["url"]).content))
    expect(page.locator("#photo-image")).to_have_js_property("naturalWidth", picture.width)


def test_deleting_asks_for_confirmation_and_moves_to_the_next_caption(visit, shipped):
    add_photos(shipped, 2)
    page = visit()
    cards = page.locator(".card")
    cards.first.get_by_role("button", name="Delete").click()
    keep = cards.first.get_by_role("button", name="Keep it")
    expect(keep).to_be_focused()
    screenshot(page, "deleting")
    page.keyboard.press("Escape")
    expect(cards.first.get_by_role("button", name="Delete")).to_be_focused()
    assert shipped.get("/api/captions").json()["total"] == 2
    cards.first.locator("a").click()
    expect(page.locator("#result")).to_be_visible()
    cards.first.get_by_role("button", name="Delete").click()
    cards.first.get_by_role("button", name="Delete it for good").click()
    expect(cards).to_have_count(1)
    expect(cards.first.locator("a")).to_be_focused()
    expect(page.locator("#start")).to_be_visible()  # the shown caption was deleted
    assert shipped.get("/api/captions").json()["total"] == 1
