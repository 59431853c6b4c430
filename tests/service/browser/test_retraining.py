"""The retraining page, from a zip to a captioner in use, with real photos, processes and pictures."""

import io
import json
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.parallel_texts import PAIRS, zipped_pairs
from tests.support.photo_sets import zipped
from tests.support.serving import Running, serving_with_worker
from tests.support.translators import save_tiny_translator
from tests.support.visits import DOGS, EXAMPLES, heat_pixels, screenshot
from tests.support.zips import zip_of

CAPTIONS = {
    "dogs": ("two dachshunds look out of a window", "two dachshunds sit in a wooden house"),
    "mountains": ("a glacier lies between mountains", "a glacier under a blue sky"),
}
CROPS = 14


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    with serving_with_worker(tmp_path_factory.mktemp("home")) as service:
        yield service


def photo_zip(tmp_path) -> str:
    """Crops of two of the example photos, with words that the captioner does not know."""
    files, rows = {}, ["image,caption"]
    for name, captions in CAPTIONS.items():
        with Image.open(EXAMPLES / f"{name}.jpg") as photo:
            for number in range(CROPS):
                left, top = number * photo.width // 60, number * photo.height // 80
                crop = photo.crop((left, top, left + photo.width * 3 // 4, top + photo.height * 3 // 4))
                buffer = io.BytesIO()
                crop.convert("RGB").resize((320, 240)).save(buffer, "JPEG")
                files[f"images/{name}{number}.jpg"] = buffer.getvalue()
                rows += [f"{name}{number}.jpg,{caption}" for caption in captions]
    path = tmp_path / "window dogs.zip"
    path.write_bytes(zipped({**files, "captions.csv": "\n".join(rows).encode(), ".DS_Store": b"x"}))
    return str(path)


def choose_zip(page: Page, path: str) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#choose").click()
    chooser.value.set_files(path)


def test_a_zip_is_trained_on_promoted_and_rolled_back(visit, running, tmp_path):
    page = visit("/retrain", running.client)
    expect(page.locator("#trainings-empty")).to_be_visible()
    expect(page.locator("#models tr")).to_have_count(1)
    screenshot(page, "retrain-empty")

    choose_zip(page, photo_zip(tmp_path))
    report = page.locator("#report")
    expect(report).to_be_visible(timeout=60_000)
    expect(report).to_contain_text("It can be used for training.")
    expect(report).to_contain_text("28 photos, 56 captions")
    expect(report).to_contain_text("28 photos are few")
    expect(report).to_contain_text("will be unknown (min_count 1)")
    expect(report).to_contain_text("dachshunds (28)")
    expect(report.locator(".samples img")).to_have_count(8)
    expect(report.locator(".samples img").first).to_have_js_property("naturalWidth", 320)
    report.get_by_text("Files that systems leave behind, skipped: 1").click()
    expect(report).to_contain_text(".DS_Store: skipped, 1 in all")
    screenshot(page, "retrain-report")

    page.get_by_text("Options by name").click()
    page.locator("#options").fill("{epochs}")
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#train-problem")).to_contain_text("The options are not JSON")
    page.locator("#options").fill('{"epochs": 3}')
    page.get_by_role("button", name="Start training").click()
    training = page.locator("#trainings > li").first
    expect(training.locator(".doing")).to_be_visible(timeout=60_000)
    expect(training.locator(".samples img").first).to_be_visible(timeout=120_000)
    screenshot(page, "retrain-training")
    expect(training).to_have_attribute("data-state", "finished", timeout=240_000)
    expect(training).to_contain_text("Finished in")
    expect(training.locator(".curve svg")).to_have_count(2)
    training.get_by_text("Parts of the loss").click()
    expect(training.locator(".losses .label").filter(has_text="Cross entropy")).to_be_visible()
    expect(training.locator(".losses .label").filter(has_text="Doubly stochastic")).to_be_visible()
    expect(training.locator(".now").first).to_contain_text("dachshunds")

    models = page.locator("#models tr")
    expect(models).to_have_count(2)
    new_model = models.first
    version = new_model.get_attribute("data-version")
    expect(models.nth(1).locator(".badge")).to_have_text("in use")
    new_model.get_by_role("button", name="Compare").click()
    comparison = page.locator("#comparison")
    expect(comparison).to_be_visible()
    expect(page.locator("#comparison-scores")).to_contain_text("CIDEr")
    expect(comparison.locator(".side:nth-child(2) .said").first).to_contain_text("dachshunds")
    sides = comparison.locator("li").first.locator(".side")
    expect(sides).to_have_count(2)
    expect(sides.nth(1).locator(".seen img")).to_have_js_property("complete", True)
    heat_maps = [heat_pixels(sides.nth(number).locator("canvas")) for number in (0, 1)]
    assert all(pixels[..., 3].max() > 0 for pixels in heat_maps), "both show their attention"
    other = sides.nth(1).locator(".said button[aria-pressed=false]").first.element_handle()
    other.hover()
    assert other.get_attribute("aria-pressed") == "true"
    assert (heat_pixels(sides.nth(1).locator("canvas")) != heat_maps[1]).any(), "another word, another map"
    screenshot(page, "retrain-comparison")

    new_model.get_by_role("button", name="Promote").click()
    expect(new_model.locator(".badge")).to_have_text("in use")
    assert running.service.serving.version == version
    with page.expect_download() as download:
        new_model.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"captioner-{version}.zip"
    screenshot(page, "retrain-promoted")
    page.locator("#rollback").click()
    expect(models.nth(1).locator(".badge")).to_have_text("in use")
    assert running.service.serving.version == "built-in"
    new_model.get_by_role("button", name="Delete").click()
    expect(models).to_have_count(1)


def test_a_training_can_be_cancelled_and_resumed_on_the_page(visit, running, tmp_path):
    page = visit("/retrain", running.client)
    data = running.client.get("/api/datasets").json()["datasets"]
    if not data:
        choose_zip(page, photo_zip(tmp_path))
        expect(page.locator("#report")).to_be_visible(timeout=60_000)
    page.locator("#preset").select_option("thorough")
    page.get_by_role("button", name="Start training").click()
    training = page.locator("#trainings > li").first
    expect(training.locator(".doing")).to_be_visible(timeout=60_000)
    training.get_by_role("button", name="Cancel").click()
    expect(training).to_have_attribute("data-state", "cancelled", timeout=30_000)
    training.get_by_role("button", name="Log").click()
    expect(training.locator("pre")).to_contain_text("--- fit ---")
    training.get_by_role("button", name="Resume").click()
    expect(training).to_have_attribute("data-state", "running", timeout=30_000)
    training.get_by_role("button", name="Cancel").click()
    expect(training).to_have_attribute("data-state", "cancelled", timeout=30_000)
    training.get_by_role("button", name="Delete").click()
    expect(page.locator("#trainings > li[data-state=cancelled]")).to_have_count(0)


def test_parallel_text_is_uploaded_and_a_translator_promoted_and_rolled_back(visit, running, tmp_path):
    page = visit("/retrain", running.client)
    expect(page.locator("#languages")).to_be_hidden()
    page.locator("#kind").select_option("parallel_text")
    page.locator("#target").fill("lb")
    path = tmp_path / "signs.zip"
    path.write_bytes(zipped_pairs({"train": PAIRS, "val": PAIRS[:4]}, "lb"))
    choose_zip(page, str(path))
    report = page.locator("#report")
    expect(report).to_contain_text("12 pairs, en to lb", timeout=60_000)
    expect(report).to_contain_text("8 training pairs are few")
    expect(page.locator("#dataset option:checked")).to_have_text("signs (12 pairs, en to lb)")
    expect(page.locator("#metric")).to_have_text("BLEU")
    expect(page.locator("#start option")).to_have_text(["The translator in use, if there is one", "None: from scratch"])
    expect(page.locator("#replay")).to_be_disabled()
    expect(page.locator("#replay option").filter(has_text="signs")).to_have_count(0)
    screenshot(page, "retrain-parallel-text")

    bundle = zip_of(save_tiny_translator(tmp_path, "lb"))
    version = running.client.post("/api/models", files={"file": ("signs.zip", bundle)}).json()["version"]
    model = page.locator(f"#models tr[data-version='{version}']")
    expect(model).to_contain_text("en to lb", timeout=20_000)
    model.get_by_role("button", name="Promote").click()
    expect(model.locator(".badge")).to_have_text("in use")
    assert running.service.translators.version("lb") == version
    screenshot(page, "retrain-translator")
    model.get_by_role("button", name="Roll back").click()
    expect(model.locator(".badge")).to_have_count(0)
    assert running.service.translators.version("lb") is None
    model.get_by_role("button", name="Delete").click()
    expect(model).to_have_count(0)


def test_problems_are_shown_on_the_page(visit, running, tmp_path):
    page = visit("/retrain", running.client, expected="422")
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no zip")
    choose_zip(page, str(bad))
    expect(page.locator("#data-problem")).to_contain_text("The zip is damaged or truncated")
    expect(page.locator("#report")).to_be_hidden()
    page.locator("#corrections").click()
    expect(page.locator("#data-problem")).to_contain_text("There are no corrections yet")


def test_the_token_is_requested_stored_and_never_in_the_url(visit, running):
    token = running.client.headers["Authorization"].split()[1]
    page = visit("/retrain", running.client, expected="401", knows_token=False)
    dialog = page.locator("#token-dialog")
    expect(dialog).to_be_visible()
    page.locator("#token").fill("a wrong one")
    page.get_by_role("button", name="Use it").click()
    expect(dialog).to_contain_text("This token is wrong.")
    screenshot(page, "retrain-token")
    page.locator("#token").fill(token)
    page.keyboard.press("Enter")
    expect(page.locator("#models tr")).not_to_have_count(0)
    page.reload()
    expect(page.locator("#models tr")).not_to_have_count(0)
    expect(dialog).to_have_count(0)

    printed = visit(f"/retrain#token={token}", running.client, knows_token=False)
    expect(printed.locator("#models tr")).not_to_have_count(0)
    assert printed.url.endswith("/retrain"), "the token is not in the address bar"


def test_without_the_token_the_history_cannot_be_deleted(visit, shipped):
    shipped.post("/api/captions", files={"image": DOGS.read_bytes()})
    page = visit(knows_token=False)
    card = page.locator(".card").first
    card.get_by_role("button", name="Delete").click()
    card.get_by_role("button", name="Delete it for good").click()
    expect(page.locator("#token-dialog")).to_be_visible()
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("#history-problem")).to_contain_text("This needs the token of the service.")
    assert shipped.get("/api/captions").json()["total"] == 1


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_its_width_and_is_accessible(visit, running, width):
    from axe_playwright_python.sync_playwright import Axe

    page = visit("/retrain", running.client, viewport={"width": width, "height": 800})
    expect(page.locator("#models tr")).not_to_have_count(0)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    results = Axe().run(page)
    assert results.violations_count == 0, json.dumps(results.response["violations"], indent=1)[:3000]
    screenshot(page, f"retrain-{width}")
