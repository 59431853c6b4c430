"""The heat map on the page equals the overlay of captioner/overlays.py."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from captioner.images.fitting import ImageFrame
from captioner.overlays import heat_map, overlay
from tests.support.visits import DOGS, EXAMPLES, away, caption, document_of, heat_on, screenshot, shown_maps

OPACITY = 0.6


@pytest.fixture
def tiny_config(tiny_config):
    """A captioner that crops photos to their middle square."""
    return replace(tiny_config, fit="crop")


def photo_file(kind: str, folder: Path) -> Path:
    if kind == "portrait":
        return DOGS
    if kind == "landscape":
        return EXAMPLES / "mountains.jpg"
    path, exif = folder / "rotated.jpg", Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: upright it is 480 x 640
    Image.open(EXAMPLES / "mountains.jpg").save(path, exif=exif)
    return path


def show_word(page: Page, index: int) -> None:
    away(page)
    page.locator(".word").nth(index).hover()
    expect(page.locator("#heat")).to_have_attribute("data-shows", "map")


def frame_of(document: dict) -> ImageFrame:
    image = document["image"]
    return ImageFrame(image["width"], image["height"], tuple(image["seen_box"]))


def check_heat(page: Page, document: dict, index: int, smooth: bool) -> None:
    """Compare the canvas with the captioner's own overlay of that word."""
    pixels = heat_on(page).astype(float)
    height, width = pixels.shape[:2]
    frame, alpha = frame_of(document), shown_maps(document)[index].astype(np.float32)
    expected = heat_map(alpha, frame, (width, height), smooth)  # [height, width]
    np.testing.assert_allclose(pixels[:, :, 3] / 255, OPACITY * expected**0.75, atol=0.02)
    photo = Image.new("RGB", (frame.width, frame.height))  # black, so that only the overlay's own colour remains
    expected_overlay = np.asarray(overlay(photo, alpha, frame, smooth, OPACITY, size=(width, height)), dtype=float)
    np.testing.assert_allclose(pixels[:, :, :3] * pixels[:, :, 3:] / 255, expected_overlay, atol=6)
    y, x = np.unravel_index(pixels[:, :, 3].argmax(), (height, width))
    left, top, right, bottom = frame.seen_box
    column = ((x + 0.5) / width * frame.width - left) / (right - left) * alpha.shape[1]
    row = ((y + 0.5) / height * frame.height - top) / (bottom - top) * alpha.shape[0]
    assert (int(row), int(column)) == np.unravel_index(alpha.argmax(), alpha.shape)


def check_canvas_covers_photo(page: Page, document: dict) -> None:
    photo, canvas = page.locator("#photo-image").bounding_box(), page.locator("#heat").bounding_box()
    assert photo == canvas
    assert photo["width"] / photo["height"] == pytest.approx(
        document["image"]["width"] / document["image"]["height"], rel=0.01
    )


@pytest.mark.parametrize("kind", ["portrait", "landscape", "rotated"])
def test_the_heat_map_lies_at_the_attended_locations(visit, shipped, tmp_path, kind):
    page = visit()
    caption(page, photo_file(kind, tmp_path))
    document = document_of(page, shipped)
    check_canvas_covers_photo(page, document)
    last = len(document["words"]) - 1
    for index in (1, last):
        show_word(page, index)
        check_heat(page, document, index, smooth=True)
    screenshot(page, f"heat-{kind}", full_page=False)
    page.get_by_label("Cells").check()
    for index in (1, last):
        show_word(page, index)
        check_heat(page, document, index, smooth=False)
    screenshot(page, f"heat-{kind}-cells", full_page=False)


def test_the_heat_map_follows_the_window_size(visit, shipped):
    page = visit()
    caption(page, EXAMPLES / "mountains.jpg")
    document = document_of(page, shipped)
    page.locator(".word").nth(2).click()
    away(page)
    for width in (1280, 500, 360):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator("#heat")).to_have_js_property("width", min(640, _photo_width(page)))
        check_canvas_covers_photo(page, document)
        check_heat(page, document, 2, smooth=True)


def _photo_width(page: Page) -> int:
    return round(page.locator("#photo").bounding_box()["width"])


def test_opacity_and_style_are_remembered(visit):
    page = visit()
    caption(page, EXAMPLES / "mountains.jpg")
    page.get_by_label("Cells").check()
    page.locator("#opacity").fill("30")
    page.locator(".word").nth(1).click()
    assert heat_on(page)[:, :, 3].max() == pytest.approx(255 * 0.3, abs=1)
    page.reload()
    expect(page.locator("#opacity")).to_have_value("30")
    expect(page.get_by_label("Cells")).to_be_checked()
    page.locator(".word").nth(1).click()
    assert heat_on(page)[:, :, 3].max() == pytest.approx(255 * 0.3, abs=1)


def test_the_part_outside_the_models_input_is_dimmed(visit, start):
    client = start().client
    page = visit(client=client)
    caption(page, EXAMPLES / "mountains.jpg")
    pixels = heat_on(page)
    width = pixels.shape[1]
    edge = width * 80 // 640  # a square of 480 in the middle of 640
    assert (pixels[:, : edge - 2, 3] > 60).all() and (pixels[:, width - edge + 2 :, 3] > 60).all()
    assert not pixels[:, edge + 2 : width - edge - 2, 3].any()
    screenshot(page, "unseen-part", full_page=False)
    box = page.locator("#places").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 100)
    expect(page.locator("#reading")).to_have_text("This part of the photo is outside the model’s input.")
    show_word(page, 0)
    alpha = np.array(document_of(page, client)["alphas"]["maps"][0])
    inside = heat_on(page)[:, edge + 2 : width - edge - 2, 3]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    peak = np.unravel_index(alpha.argmax(), alpha.shape)
    assert (y * 2 // inside.shape[0], x * 2 // inside.shape[1]) == peak
