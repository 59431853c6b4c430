"""Pillow's warnings are silenced while a photo is read, in several threads at once."""

import threading
import warnings

import pytest
from PIL import Image

from captioner.errors import ImageTooLarge
from captioner.images.photo import open_image
from tests.support.read_photos import (
    encoded,
    quarters,
)


def test_pillows_warning_about_large_photos_is_silenced(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 1536 pixels: Pillow warns, and refuses from 2000
    assert open_image(encoded(quarters(), "PNG")).size == (48, 32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageTooLarge, match="photo.png is too large"):
        open_image(encoded(quarters(), "PNG"), name="photo.png")


def test_threads_do_not_change_the_warning_filters():
    before = list(warnings.filters)
    data = encoded(quarters(), "JPEG")
    threads = [threading.Thread(target=lambda: [open_image(data) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
