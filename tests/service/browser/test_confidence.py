"""The page shows how sure a caption is, marks guessed words, and offers labels as hints."""

import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import captioner
from captioner.captioner import Captioner
from service.settings import Settings
from tests.support.confidence_models import drawn_model
from tests.support.serving import serving
from tests.support.visits import DOGS, caption, document_of, screenshot


@pytest.fixture(scope="module")
def judging(tmp_path_factory) -> Iterator[httpx.Client]:
    """A client of a service whose captions are all guesses, with unsure nouns."""
    bundle = captioner.load(device="cpu", runtime="exact").bundle
    model = drawn_model(bundle.model.decoder.annotation_dim, caption=-1.0, word=1.5)
    settings = Settings(home=tmp_path_factory.mktemp("home"), port=0)
    with serving(settings, Captioner(replace(bundle, confidence=model), "cpu")) as running:
        yield running.client


@pytest.fixture(scope="module")
def unrated(tmp_path_factory) -> Iterator[httpx.Client]:
    """A client of a service whose captioner has no confidence model."""
    bundle = replace(captioner.load(device="cpu", runtime="exact").bundle, confidence=None)
    with serving(Settings(home=tmp_path_factory.mktemp("home"), port=0), Captioner(bundle, "cpu")) as running:
        yield running.client


def unsure_words(page: Page) -> list[str]:
    return page.locator(".word.unsure .word-text").all_inner_texts()


def test_a_guess_is_marked_and_its_numbers_are_in_the_details(visit, judging):
    page = visit(client=judging)
    caption(page, DOGS)
    document = document_of(page, judging)
    verdict, numbers = page.locator("#verdict"), page.locator("#numbers")
    expect(verdict).to_contain_text("A guess.")
    expect(page.locator("#status")).to_contain_text(f"Caption: {document['caption']}. A guess.")
    guesses = [word["text"] for word in document["words"] if word["wording"] == "guess"]
    assert guesses and len(guesses) < len(document["words"])
    assert unsure_words(page) == guesses
    marks = page.locator(".word.unsure .word-text").evaluate_all(
        "words => words.map(word => getComputedStyle(word, '::after').content)"
    )
    assert set(marks) == {'"?"'}  # not by colour alone
    page.locator(".word.unsure").first.hover()
    expect(page.locator("#reading")).to_contain_text(f"{guesses[0]} · a guess")
    expect(page.locator(".word.unsure .word-says").first).to_contain_text("a guess")  # also for screen readers
    page.locator(".word").first.hover()
    expect(page.locator("#reading")).to_contain_text(f"{document['words'][0]['text']} · ")
    expect(page.locator(".alternative-figure").first).to_have_text("a guess")
    expect(page.locator("#history-list")).to_contain_text("a guess")
    screenshot(page, "confidence-guess")

    numbers.locator("summary").click()
    rows = numbers.locator("tbody tr")
    expect(rows).to_have_count(1 + len(document["words"]))
    expect(rows.first.locator("td").first).to_have_text(f"{document['confidence']:.3f}")
    assert Axe().run(page).response["violations"] == []
    page.locator("#about summary").click()
    about_confidence, about_chance = (page.locator(f"#about dd[data-judged={judged}]") for judged in ("true", "false"))
    expect(about_confidence).to_contain_text("sure from 80 %, likely from 50 %")
    expect(about_confidence).to_be_visible()
    expect(about_chance).to_be_hidden()
    screenshot(page, "confidence-numbers")


def test_a_guess_offers_labels_as_hints_and_sure_captions_have_no_marked_words(visit, judging):
    page = visit(client=judging)
    caption(page, DOGS)
    document = document_of(page, judging)
    document["labels"] = [
        {"name": "espresso", "probability": 0.8}, {"name": "cup", "probability": 0.1},
        {"name": "tray", "probability": 0.01},
    ]  # fmt: skip
    address = f"**/api/captions/{document['id']}"
    page.route(address, lambda route: route.fulfill(body=json.dumps(document), content_type="application/json"))
    page.reload()
    expect(page.locator("#verdict")).to_have_text("A guess. Perhaps: espresso, cup.")
    screenshot(page, "confidence-hints", full_page=False)

    for item in [document, *document["words"]]:
        item["confidence"], item["wording"] = 0.93, "sure"
    page.reload()
    expect(page.locator("#verdict")).to_have_text("Sure.")
    assert unsure_words(page) == []


def test_without_a_confidence_model_the_page_shows_no_confidence(visit, unrated):
    page = visit(client=unrated)
    caption(page, DOGS)
    document = document_of(page, unrated)
    assert document["confidence"] is None is document["wording"]
    expect(page.locator("#verdict")).to_be_hidden()
    expect(page.locator("#numbers")).to_be_hidden()
    assert unsure_words(page) == []
    page.locator("#about summary").click()
    expect(page.locator("#about dd[data-judged=false]")).to_contain_text("A full line is a sure word")
    expect(page.locator("#about dd[data-judged=false]")).to_be_visible()
