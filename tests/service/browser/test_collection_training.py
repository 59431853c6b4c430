"""From dropped photos to a better captioner: corrected, taken away, trained on, promoted, captioned again."""

import io
import re
import time
import zipfile
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect

from tests.support.serving import Running, serving_with_worker
from tests.support.visits import EXAMPLES, screenshot

SUBJECTS = {"dogs": "two dachshunds look out of a window", "mountains": "a glacier lies between mountains"}
CROPS, CORRECTIONS = 50, 10
TRAINING_MS = 240_000
CAPTIONING_SECONDS = 240


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    with serving_with_worker(tmp_path_factory.mktemp("home")) as service:
        yield service


def crops() -> list[FilePayload]:
    """Crops of two of the example photos, in turns."""
    files: list[FilePayload] = []
    photos = {name: Image.open(EXAMPLES / f"{name}.jpg").convert("RGB") for name in SUBJECTS}
    for number in range(CROPS):
        for name, photo in photos.items():
            left = number * photo.width // (4 * CROPS)
            crop = photo.crop((left, 0, left + photo.width * 3 // 4, photo.height))
            buffer = io.BytesIO()
            crop.resize((320, 240)).save(buffer, "JPEG")
            files.append({"name": f"{name}{number}.jpg", "mimeType": "image/jpeg", "buffer": buffer.getvalue()})
    return files


def correct(page: Page, count: int) -> list[str]:
    """Correct the first captions with the keyboard alone -> the corrections."""
    page.locator(".cell-photo textarea").first.focus()
    texts = [caption for _ in range(CROPS) for caption in SUBJECTS.values()][:count]
    for number, text in enumerate(texts, 1):
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type(text)
        page.keyboard.press("Enter")
        expect(page.locator(f'.cell-photo[data-number="{number + 1}"] textarea')).to_be_focused()
    expect(page.locator("#progress-text")).to_contain_text(f"{count} corrected")
    return texts


def wait_until_captioned(running: Running, page: Page) -> None:
    end = time.monotonic() + CAPTIONING_SECONDS
    while running.client.get(f"/api{page.url.removeprefix(running.url.rstrip('/'))}").json()["waiting"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    expect(page.locator("#progress-text")).not_to_contain_text("to go")


def train_and_promote(page: Page) -> str:
    """Train on the data set of the retraining page, and promote the result -> its version."""
    expect(page.locator("#report")).to_contain_text("It can be used for training.")
    page.get_by_text("Options by name").click()
    page.locator("#options").fill('{"epochs": 1}')
    page.get_by_role("button", name="Start training").click()
    training = page.locator("#trainings > li").first
    expect(training).to_have_attribute("data-state", "finished", timeout=TRAINING_MS)
    model = page.locator("#models tr").first
    version = model.get_attribute("data-version")
    assert version is not None
    promote = model.get_by_role("button", name="Promote")
    if promote.is_visible():  # a better one is promoted automatically
        promote.click()
    expect(model.locator(".badge")).to_have_text("in use")
    return version


def test_dropped_photos_become_a_captioner_that_captions_the_rest(visit, running):
    page = visit("/collections", running.client)
    page.locator("#file").set_input_files(crops())
    expect(page).to_have_url(re.compile("/collections/[0-9a-f]{32}$"))
    expect(page.locator("#progress-text")).to_contain_text(f"{2 * CROPS} photos")
    wait_until_captioned(running, page)
    texts = correct(page, CORRECTIONS)

    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert len(archive.namelist()) == 2 * CROPS and archive.read("dogs0.txt").decode() == texts[0]

    address = page.url
    page.get_by_role("button", name="Train on this collection").click()
    expect(page).to_have_url(re.compile(r"/retrain\?dataset="))
    version = train_and_promote(page)

    page.goto(address)
    with page.expect_response("**/caption-again") as response:
        page.get_by_role("button", name="Caption the rest again").click()
    assert response.value.json()["waiting"] == 2 * CROPS - CORRECTIONS
    wait_until_captioned(running, page)
    screenshot(page, "collection-again")
    url = f"/api{page.url.removeprefix(running.url.rstrip('/'))}/photos"
    photos = running.client.get(url).json()["photos"]
    assert [photo["caption"] for photo in photos[:CORRECTIONS]] == texts, "what people wrote stays"
    rest = photos[CORRECTIONS:]
    assert rest and all(photo["model"] == running.service.serving.model_version for photo in rest)
    assert running.service.serving.version == version
