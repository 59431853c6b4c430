"""Pictures for saving: the photo, the overlay of each word, the figure."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from captioner.captioner import Captioner
from captioner.figures import figure_strip
from captioner.overlays import overlay


@pytest.fixture
def photo() -> Image.Image:
    """A smooth picture, which JPEG hardly changes."""
    rows, columns = np.mgrid[0:60, 0:100]
    return Image.fromarray(np.stack([rows * 4, columns * 2, rows + columns], axis=2).astype(np.uint8))


def file_of(photo, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def document(client, photo) -> dict:
    response = client.post(
        "/api/captions?captions=2", content=file_of(photo), headers={"Content-Type": "application/octet-stream"}
    )
    assert response.status_code == 201, response.text
    return response.json()


@pytest.fixture
def expected(tiny_bundle, photo):
    (captions,) = Captioner(tiny_bundle, "cpu").captions(
        [file_of(photo)], replace(tiny_bundle.decoding, captions_per_image=2)
    )
    return captions


def picture(client, url, **query) -> Image.Image:
    response = client.get(url, params=query or None)
    assert response.status_code == 200, response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    image = Image.open(io.BytesIO(response.content))
    assert response.headers["Content-Type"] == f"image/{image.format.lower()}"
    return image


def difference(first: Image.Image, second: Image.Image) -> float:
    assert first.size == second.size
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def test_the_stored_photo_is_upright_and_without_metadata(client, photo):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "where I live"
    sideways = photo.transpose(Image.Transpose.ROTATE_90)
    document = client.post(
        "/api/captions",
        content=file_of(sideways, "JPEG", quality=95, exif=exif.tobytes()),
        headers={"Content-Type": "image/jpeg"},
    ).json()
    assert (document["image"]["width"], document["image"]["height"]) == (100, 60)
    response = client.get(document["image"]["url"])
    image = Image.open(io.BytesIO(response.content))
    assert image.format == "JPEG" and difference(image, photo) < 4
    assert not image.getexif() and b"where I live" not in response.content


def test_a_thumbnail_is_scaled_down_and_never_up(client, document):
    assert picture(client, document["image"]["url"], size=50).size == (50, 30)
    assert picture(client, document["image"]["url"], size=2000).size == (100, 60)


def test_an_overlay_equals_the_librarys(client, document, photo, expected):
    for number, alpha in enumerate(expected[0].alphas, start=1):
        image = picture(client, f"/api/captions/{document['id']}/overlays/{number}.png")
        assert difference(image, overlay(photo, alpha, expected[0].frame)) < 3


def test_overlay_options_are_applied(client, document, photo, expected):
    url = document["words"][0]["overlay"]
    alpha, frame = expected[0].alphas[0], expected[0].frame
    options = {"style": "cells", "opacity": 0.9, "colour_map": "viridis", "size": 200}
    expected_overlay = overlay(photo, alpha, frame, smooth=False, opacity=0.9, colour_map="viridis", size=(200, 120))
    assert difference(picture(client, url, **options), expected_overlay) < 3
    assert difference(picture(client, url, opacity=0), photo) < 3


def test_alternatives_have_their_own_pictures(client, document, photo, expected):
    (alternative,) = document["alternatives"]
    expected_overlay = overlay(photo, expected[1].alphas[-1], expected[1].frame)
    assert difference(picture(client, alternative["words"][-1]["overlay"]), expected_overlay) < 3
    assert difference(picture(client, alternative["figure"]), figure_strip(photo, expected[1])) < 3


def test_the_figure_equals_the_librarys(client, document, photo, expected):
    assert difference(picture(client, document["figure"]), figure_strip(photo, expected[0])) < 3
    cells = figure_strip(photo, expected[0], smooth=False)
    assert difference(picture(client, document["figure"], style="cells"), cells) < 3


@pytest.mark.parametrize(
    "query, message",
    [
        ("style=fancy", "style"),
        ("opacity=2", "opacity"),
        ("opacity=nan", "opacity"),
        ("colour_map=../../etc/passwd", "colour map"),
        ("size=0", "size"),
        ("size=100000", "size"),
        ("caption=0", "caption"),
        ("smooth=1", "smooth"),
    ],
)
def test_an_invalid_option_is_a_problem(client, document, query, message):
    response = client.get(f"{document['words'][0]['overlay']}?{query}")
    assert response.status_code == 422 and message in response.json()["detail"]


@pytest.mark.parametrize(
    "tail", ["overlays/0.png", "overlays/99.png", "overlays/1.png?caption=3", "figure.png?caption=3"]
)
def test_a_missing_picture_is_a_problem(client, document, tail):
    response = client.get(f"/api/captions/{document['id']}/{tail}")
    assert response.status_code == 404 and "count from 1" in response.json()["detail"]


@pytest.mark.parametrize("tail", ["overlays/x.png", "overlays/-1.png", "overlays/1.jpg", "overlays/", "photo"])
def test_an_unknown_url_is_a_problem(client, document, tail):
    response = client.get(f"/api/captions/{document['id']}/{tail}")
    assert response.status_code == 404 and response.headers["Content-Type"] == "application/problem+json"


def test_pictures_are_cached_by_the_browser_and_by_no_proxy(client, document):
    response = client.get(document["words"][0]["overlay"])
    assert "private" in response.headers["Cache-Control"] and "immutable" in response.headers["Cache-Control"]
