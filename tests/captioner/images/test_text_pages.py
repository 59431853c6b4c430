"""Pages of text are distinguished from photos; pages of many kinds and pictures with similar traits are drawn."""

import io
import random
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from captioner.images.photo import open_image
from captioner.images.text_pages import is_text_page
from captioner.images.warnings import find_warnings

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SANS, SERIF, MONO, HAND = "DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf", "cmmi10.ttf"
WORDS = (
    "the of and to in a is that for it as was with be by on not he but at are this have from or had an they which one"
    " you were all her she there would their we him been has when who will more no if out so said what its about than"
).split()
BLACK, WHITE = (15, 15, 15), (255, 255, 255)


def draw_lines(picture, box, size, font=SANS, colour=BLACK, pitch=1.5, seed=0, indent=0) -> Image.Image:
    """Fill a box (left, top, right, bottom) with lines of words, some of them short or indented."""
    rng, pen, face = random.Random(seed), ImageDraw.Draw(picture), ImageFont.truetype(str(FONTS / font), size)
    left, top, right, bottom = box
    while top + size * pitch < bottom:
        x, end = left + indent * rng.randrange(5), right if rng.random() < 0.8 else left + (right - left) * rng.random()
        while x < end - 3 * size:
            word = rng.choice(WORDS)
            pen.text((x, top), word, font=face, fill=colour)
            x += face.getlength(word + " ")
        top += size * pitch
    return picture


def blank(width: int, height: int, colour=WHITE) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def columns() -> Image.Image:
    page = blank(1240, 1754)
    for left in (80, 450, 820):
        draw_lines(page, (left, 150, left + 330, 1700), 17, SERIF, seed=left)
    return draw_lines(page, (80, 40, 1200, 120), 44)


def receipt() -> Image.Image:
    page = draw_lines(blank(420, 1100, (250, 250, 248)), (20, 20, 230, 1080), 18, MONO)
    return draw_lines(page, (320, 20, 410, 1080), 18, MONO)


def phone() -> Image.Image:
    page = draw_lines(blank(1080, 2340), (60, 200, 1020, 2300), 40)
    page.paste((60, 90, 200), (0, 0, 1080, 120))
    return page


def slide() -> Image.Image:
    page = draw_lines(blank(1280, 720, (20, 40, 90)), (110, 180, 1100, 700), 34, colour=WHITE, pitch=2.4)
    return draw_lines(page, (80, 50, 1200, 140), 54, colour=WHITE)


def table() -> Image.Image:
    page = draw_lines(blank(1100, 700), (30, 24, 1080, 690), 14, pitch=2)
    pen = ImageDraw.Draw(page)
    for row in range(25):
        pen.line((20, 20 + 28 * row, 1080, 20 + 28 * row), fill=(190, 190, 190))
    return page


def scan() -> Image.Image:
    """Slightly rotated, blurred, unevenly lit, noisy, and compressed."""
    page = columns().rotate(1.5, fillcolor=(235, 235, 235), resample=Image.Resampling.BICUBIC)
    pixels = np.asarray(page.filter(ImageFilter.GaussianBlur(0.8))).astype(float) * 0.9
    pixels += np.random.default_rng(0).normal(0, 6, pixels.shape) + np.linspace(-15, 5, page.width)[None, :, None]
    stream = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=60)
    return open_image(stream.getvalue())


PAGES = {
    "plain": lambda: draw_lines(blank(900, 700), (30, 30, 850, 690), 13),
    "half empty": lambda: draw_lines(blank(900, 500), (20, 20, 400, 480), 11),
    "dark": lambda: draw_lines(blank(1280, 800, (30, 30, 34)), (40, 30, 1100, 790), 16, colour=(220, 220, 220)),
    "code": lambda: draw_lines(blank(1200, 800), (20, 20, 700, 780), 15, MONO, (0, 60, 160), indent=40),
    "columns": columns,
    "receipt": receipt,
    "handwriting": lambda: draw_lines(blank(1000, 1300, (252, 250, 240)), (60, 60, 900, 1250), 34, HAND, (30, 40, 120)),
    "scan": scan,
    "phone": phone,
    "long": lambda: draw_lines(blank(1080, 7000), (60, 100, 1000, 6900), 40),
    "slide": slide,
    "table": table,
    "thumbnail": lambda: columns().resize((496, 702), Image.Resampling.LANCZOS),
    "on its side": lambda: columns().transpose(Image.Transpose.ROTATE_90),
    "300 dpi": lambda: columns().resize((2480, 3508)),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_text_is_recognised(name):
    (warning,) = find_warnings(PAGES[name]())
    assert warning.kind == "text" and "cannot read" in warning.message


def birds() -> Image.Image:
    picture, rng = blank(640, 480, (190, 205, 225)), random.Random(1)
    for _ in range(260):
        x, y = rng.randrange(640), rng.randrange(480)
        ImageDraw.Draw(picture).polygon([(x, y), (x + 6, y + 4), (x + 13, y - 1), (x + 6, y + 7)], fill=(30, 30, 30))
    return picture


def bars(horizontal: bool) -> Image.Image:
    """A fence or a blind."""
    picture = blank(640, 480, (200, 200, 195))
    pen = ImageDraw.Draw(picture)
    for position in range(10, 640, 24):
        pen.rectangle(
            (0, position, 640, position + 5) if horizontal else (position, 0, position + 5, 480), fill=(40, 40, 40)
        )
    return picture


def product() -> Image.Image:
    picture = blank(800, 800)
    pixels = np.random.default_rng(0).integers(40, 200, (40, 40, 3), dtype=np.uint8)
    picture.paste(Image.fromarray(pixels).resize((400, 300)), (200, 250))
    return picture


def sign() -> Image.Image:
    """A word on a sign in a scene."""
    scene = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(scene).resize((640, 480), Image.Resampling.BICUBIC)
    picture.paste(WHITE, (200, 150, 440, 300))
    return draw_lines(picture, (210, 160, 430, 295), 22)


OTHERS = {
    "birds": birds,
    "fence": lambda: bars(False),
    "blind": lambda: bars(True),
    "product": product,
    "sign": sign,
    "noise": lambda: Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)),
    "two words": lambda: draw_lines(blank(800, 600), (200, 270, 600, 340), 40),
    "tiny": lambda: blank(40, 30),
}


@pytest.mark.parametrize("name", OTHERS)
def test_pictures_with_some_traits_of_text_are_not_pages_of_text(name):
    assert not is_text_page(OTHERS[name]())


def test_no_example_photo_has_a_warning():
    photos = sorted((Path(__file__).parents[3] / "examples").glob("*.jpg"))
    assert len(photos) > 3 and all(find_warnings(open_image(path)) == () for path in photos)
