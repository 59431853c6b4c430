"""Captions in another language on the page: both texts and the photo highlight each other; the matrix is a table."""

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, expect

import captioner
from captioner.captioner import Captioner
from captioner.images.fitting import ImageFrame
from captioner.overlays import heat_map
from service.settings import Settings
from tests.support.serving import serving
from tests.support.translators import save_tiny_translator
from tests.support.visits import DOGS, away, caption, document_of, heat_on, heat_pixels, screenshot, shown_maps


@pytest.fixture(scope="module")
def model() -> Captioner:
    return captioner.load(device="cpu")


@pytest.fixture(scope="module", autouse=True)
def none_ship() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("service.store.translators.shipped_translators", dict)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_translator(tmp_path_factory.mktemp("translators"))


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory, model, folder) -> Iterator[httpx.Client]:
    """A client of a service that translates to German and French."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0, translators=f"{folder}, fr={folder}")
    with serving(settings, model) as running:
        yield running.client


@pytest.fixture
def page(visit, bilingual) -> Page:
    """The page with a translated caption, and the mouse over nothing."""
    page = visit(client=bilingual)
    caption(page, DOGS)
    choose_language(page, "de")
    away(page)
    return page


def choose_language(page: Page, code: str) -> None:
    page.locator("#language").select_option(code)
    expect(translated(page).first).to_be_visible()


def words(page: Page) -> Locator:
    return page.locator("#words .word")


def translated(page: Page) -> Locator:
    return page.locator("#translation-words .word")


def translation_of(page: Page, client: httpx.Client, language: str = "de") -> dict:
    """Return the API's document of the shown caption, translated."""
    identifier = document_of(page, client)["id"]
    return client.get(f"/api/captions/{identifier}?language={language}").raise_for_status().json()


def warmths(locator: Locator) -> np.ndarray:
    return np.array(
        locator.evaluate_all("words => words.map(word => Number(word.style.getPropertyValue('--warmth') || 0))")
    )


def weights_of(document: dict) -> np.ndarray:
    return np.array([word["weights"] for word in document["translation"]["words"]])


def check_map(page: Page, document: dict, expected: np.ndarray) -> None:
    """Compare the heat map on the page with a map [H, W]."""
    opacity = heat_on(page)[:, :, 3] / 255
    height, width = opacity.shape
    image = document["image"]
    frame = ImageFrame(image["width"], image["height"], tuple(image["seen_box"]))
    drawn = heat_map(expected.astype(np.float32), frame, (width, height), True)
    np.testing.assert_allclose(opacity, 0.6 * drawn**0.75, atol=0.03)


def test_without_translators_the_page_offers_no_language(visit, model, tmp_path):
    with serving(Settings(home=tmp_path, port=0), model) as running:
        page = visit(client=running.client)
        caption(page, DOGS)
        expect(page.locator("#translation")).to_be_hidden()
        expect(page.locator("#matrix")).to_be_hidden()
        expect(page.locator("#about")).not_to_contain_text("translates")


def test_a_caption_is_shown_in_the_chosen_language(visit, bilingual):
    page = visit(client=bilingual)
    caption(page, DOGS)
    language = page.get_by_label("Translation", exact=True)
    expect(language.locator("option")).to_have_text(["None", "German", "French"])
    expect(translated(page)).to_have_count(0)
    language.select_option("de")
    document = translation_of(page, bilingual)
    expect(translated(page).locator(".word-text")).to_have_text(
        [word["text"] for word in document["translation"]["words"]]
    )
    assert set(translated(page).locator(".word-text").evaluate_all("words => words.map(word => word.lang)")) == {"de"}
    expect(page.locator("#translation-text")).to_have_attribute("lang", "de")
    expect(page.locator("#translation-text")).to_have_text(document["translation"]["translation"])
    expect(page.locator("#status")).to_have_text(f"German: {document['translation']['translation']}")
    assert Axe().run(page).response["violations"] == []
    page.locator("#matrix > summary").click()
    page.locator("#about summary").click()
    expect(page.locator("#about")).to_contain_text("A second model translates the caption")
    assert Axe().run(page).response["violations"] == []
    screenshot(page, "translation")


def test_the_language_is_remembered(page, bilingual):
    page.reload()
    expect(page.locator("#language")).to_have_value("de")
    expect(translated(page).first).to_be_visible()
    caption(page, DOGS)
    expect(translated(page).first).to_be_visible()
    page.locator("#language").select_option("")
    expect(translated(page)).to_have_count(0)
    expect(page.locator("#matrix")).to_be_hidden()
    page.reload()
    expect(page.locator("#language")).to_have_value("")
    expect(words(page).first).to_be_visible()
    expect(translated(page)).to_have_count(0)


def test_a_translated_word_highlights_its_sources_and_their_part_of_the_photo(page, bilingual):
    document = translation_of(page, bilingual)
    word = document["translation"]["words"][1]
    translated(page).nth(1).hover()
    expect(page.locator("#reading strong")).to_have_text(word["text"])
    expect(page.locator("#reading strong")).to_have_attribute("lang", "de")
    np.testing.assert_allclose(warmths(words(page)), word["weights"], atol=1e-3)
    expect(translated(page).nth(1)).to_have_class("word active")
    check_map(page, document, np.array(word["map"]))
    screenshot(page, "translated-word", full_page=False)
    away(page)
    assert not warmths(words(page)).any() and not heat_on(page)[:, :, 3].any()
    expect(page.locator("#reading")).to_have_text("Point at a word or at the photo.")


def test_a_word_of_the_caption_highlights_what_it_became(page, bilingual):
    document = translation_of(page, bilingual)
    words(page).nth(1).hover()
    np.testing.assert_allclose(warmths(translated(page)), weights_of(document)[:, 1], atol=1e-3)
    assert not warmths(words(page)).any()
    check_map(page, document, shown_maps(document)[1])
    away(page)
    assert not warmths(translated(page)).any()


def test_descriptions_name_the_words_of_the_other_text(page, bilingual):
    document = translation_of(page, bilingual)
    weights, source = weights_of(document), document["translation"]["source"]
    for index in range(len(weights)):
        description = page.locator(f"#translation-words-{index + 1}-says").text_content()
        named = {source[column] for column in np.flatnonzero(weights[index] >= 0.2)}
        assert all(f"“{word}”" in description for word in named)
        assert named or "from no word in particular" in description
    for index, column in enumerate(weights.T):
        description = page.locator(f"#words-{index + 1}-says").text_content()
        assert ("in German" in description) == bool((column >= 0.2).any())


def test_a_pinned_word_of_one_text_releases_that_of_the_other(page):
    translated(page).nth(1).click()
    away(page)
    expect(translated(page).nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#reading")).to_contain_text("pinned")
    pinned = heat_on(page)
    assert pinned[:, :, 3].any()
    words(page).nth(2).hover()
    assert not np.array_equal(heat_on(page), pinned)
    away(page)
    assert np.array_equal(heat_on(page), pinned)
    words(page).nth(2).click()
    away(page)
    expect(translated(page).nth(1)).to_have_attribute("aria-pressed", "false")
    expect(words(page).nth(2)).to_have_attribute("aria-pressed", "true")
    translated(page).nth(0).click()
    expect(words(page).nth(2)).to_have_attribute("aria-pressed", "false")
    away(page)
    page.keyboard.press("Escape")
    expect(translated(page).nth(0)).to_have_attribute("aria-pressed", "false")
    assert not heat_on(page)[:, :, 3].any()


def test_everything_is_reachable_by_keyboard(page, bilingual):
    document = translation_of(page, bilingual)
    page.locator("#places").focus()
    reached = []
    for _ in range(4):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.id || document.activeElement.parentElement.id"))
    assert reached == ["words", "translation-words", "language", "play"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#reading strong")).to_have_text(document["translation"]["words"][1]["text"])
    np.testing.assert_allclose(warmths(words(page)), weights_of(document)[1], atol=1e-3)
    page.keyboard.press("Enter")
    expect(translated(page).nth(1)).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(translated(page).nth(1)).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#reading strong")).to_have_text(document["words"][0]["text"])


def test_a_tap_shows_a_translated_word(visit, bilingual):
    page = visit(client=bilingual, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    caption(page, DOGS)
    choose_language(page, "de")
    translated(page).nth(1).tap()
    assert heat_on(page)[:, :, 3].any() and warmths(words(page)).any()
    page.locator("#matrix > summary").tap()
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    screenshot(page, "translation-phone")
    translated(page).nth(1).tap()
    assert not heat_on(page)[:, :, 3].any()


def test_a_location_highlights_the_words_of_both_texts(page, bilingual):
    maps = np.array([word["map"] for word in translation_of(page, bilingual)["translation"]["words"]])
    row, column = np.unravel_index(maps[1].argmax(), maps[1].shape)
    box = page.locator("#places").bounding_box()
    page.mouse.move(
        box["x"] + (column + 0.5) / maps.shape[2] * box["width"], box["y"] + (row + 0.5) / maps.shape[1] * box["height"]
    )
    assert warmths(words(page)).any()
    by_share = warmths(translated(page))[np.argsort(maps[:, row, column])]
    assert by_share[-1] > 0 and (np.diff(by_share) >= 0).all()
    away(page)
    assert not warmths(translated(page)).any()


def test_the_matrix_is_a_table_of_numbers_and_a_picture(page, bilingual):
    document = translation_of(page, bilingual)
    page.locator("#matrix > summary").click()
    heads = page.locator("#matrix-picture .matrix-heads span")
    expect(heads).to_have_text(document["translation"]["source"])
    weights = weights_of(document)
    brightness = heat_pixels(page.locator("#matrix-picture canvas"))[:, :, :3].astype(int).sum(axis=2)
    assert brightness.shape == weights.shape and brightness.flat[weights.argmax()] == brightness.max()
    translated(page).nth(1).hover()
    expect(page.locator(".matrix-word.active")).to_have_text(document["translation"]["words"][1]["text"])
    away(page)
    page.get_by_text("The matrix as a table").click()
    table = page.locator("#matrix-table")
    expect(table.get_by_role("columnheader")).to_have_text(["Word", *document["translation"]["source"]])
    expect(table.get_by_role("rowheader")).to_have_text([word["text"] for word in document["translation"]["words"]])
    shown = [text.split()[-2] for text in table.get_by_role("cell").all_inner_texts()]  # "62 %", "over 99 %"
    np.testing.assert_allclose(np.array(shown, float).reshape(weights.shape), 100 * weights, atol=1)
    link = page.locator("#save-matrix")
    response = bilingual.get(link.get_attribute("href"))
    assert Image.open(io.BytesIO(response.content)).mode == "L" and link.get_attribute("download") == "matrix-de.png"


def test_other_captions_have_translations_of_their_own(page, bilingual):
    document = translation_of(page, bilingual)
    page.locator(".alternative").nth(1).click()
    other = document["alternatives"][0]["translation"]
    expect(translated(page).locator(".word-text")).to_have_text([word["text"] for word in other["words"]])
    expect(page.locator("#save-matrix")).to_have_attribute("href", other["matrix"])
    expect(page.locator("#status")).to_contain_text(f"German: {other['translation']}")


def test_the_maps_of_translated_words_follow_those_of_the_caption(page, bilingual):
    document = translation_of(page, bilingual)
    page.get_by_label("Why this word", exact=True).check()
    expect(page.locator("#maps-loading")).to_be_hidden()
    expect(page.locator("#status")).to_have_text("Each word now shows its occlusion map.")
    maps = np.array(bilingual.get(f"/api/captions/{document['id']}/evidence").json()["maps"])
    translated(page).nth(1).hover()
    check_map(page, document, np.tensordot(weights_of(document)[1], maps, axes=1))


def test_a_broken_translator_leaves_the_caption_and_can_be_tried_again(visit, tmp_path, model):
    folder = save_tiny_translator(tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(b"broken")
    with serving(Settings(home=tmp_path / "home", port=0, translators=str(folder)), model) as running:
        page = visit(client=running.client, expected="503")
        caption(page, DOGS)
        page.locator("#language").select_option("de")
        problem = page.locator("#translation-problem")
        expect(problem).to_contain_text("tell the service's operator")
        expect(words(page).first).to_be_visible()
        (folder / "model.safetensors").write_bytes(weights)
        problem.get_by_role("button", name="Try again").click()
        expect(translated(page).first).to_be_visible()
        expect(problem).to_be_empty()
