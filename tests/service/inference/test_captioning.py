"""Memory held by requests while their photos wait for the model."""

import gc
import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from captioner.captioner import Captioner
from captioner.images.photo import open_image
from service.inference.captioning import CaptionService
from service.settings import Settings
from service.store.photos import MAX_SIDE, PhotoFolder
from tests.support.pictures import picture_bytes


@pytest.fixture
def service(tiny_bundle, tmp_path) -> Iterator[CaptionService]:
    service = CaptionService(Settings(home=tmp_path / "home", batch_size=1), Captioner(tiny_bundle, "cpu"))
    yield service
    service.close()


@pytest.fixture
def model_waits(monkeypatch) -> Iterator[threading.Event]:
    """The model starts once this is set; it is set at the end."""
    may_begin, encode = threading.Event(), Captioner.encode

    def encode_later(self, pixels):
        may_begin.wait(60)
        return encode(self, pixels)

    monkeypatch.setattr(Captioner, "encode", encode_later)
    yield may_begin
    may_begin.set()


def test_a_waiting_photo_is_held_at_its_stored_size(service, model_waits, monkeypatch, tmp_path):
    data = picture_bytes(3000, 1000)
    opened, jobs = [], []

    def recorded(*arguments, **options):
        photo = open_image(*arguments, **options)
        opened.append(weakref.ref(photo))
        return photo

    monkeypatch.setattr("service.inference.captioning.open_image", recorded)
    submit = service.serving.batcher.submit
    monkeypatch.setattr(service.serving.batcher, "submit", lambda *job: jobs.append(job) or submit(*job))
    pending_captions = [service.begin(data, service.serving.captioner.decoding) for _ in range(3)]
    gc.collect()
    assert [reference() for reference in opened] == [None] * 3, "the full-size photo is released"
    assert [pending.photo.size for pending in pending_captions] == [(MAX_SIDE, 683)] * 3

    model_waits.set()
    full = open_image(data)
    pixels, frame = service.serving.captioner.prepare(full)
    assert all(np.array_equal(job[0], pixels) and job[1] == frame for job in jobs), "the model gets the full photo"
    entry = service.finish(pending_captions[0])
    assert (entry.width, entry.height) == (3000, 1000)
    other = PhotoFolder(tmp_path / "other")
    other.save(entry.id, full)
    assert service.photos.jpeg(entry.id) == other.jpeg(entry.id), "the stored photo is the same"


def test_a_small_photo_is_not_copied(service):
    pending = service.begin(picture_bytes(64, 48), service.serving.captioner.decoding)
    assert pending.photo.size == (64, 48)
    service.finish(pending)


def test_a_photo_that_cannot_be_scaled_down_is_not_captioned(service, model_waits, monkeypatch):
    def fail(photo: Image.Image) -> Image.Image:
        raise MemoryError

    futures = []
    submit = service.serving.batcher.submit
    monkeypatch.setattr(service.serving.batcher, "submit", lambda *job: futures.append(submit(*job)) or futures[-1])
    service.begin(picture_bytes(), service.serving.captioner.decoding)  # keeps the model busy
    monkeypatch.setattr("service.inference.captioning.to_stored_size", fail)
    with pytest.raises(MemoryError):
        service.begin(picture_bytes(), service.serving.captioner.decoding)
    assert futures[1].cancelled()


def test_a_waiting_request_does_not_hold_its_body(start, jpeg, monkeypatch):
    from service.api import captions

    read, finish, uploads, are_held = captions.read_upload, CaptionService.finish, [], []

    def recorded(*arguments):
        upload = read(*arguments)
        uploads.append(weakref.ref(upload))
        return upload

    def inspect(self, pending):
        gc.collect()
        are_held.extend(upload() is not None for upload in uploads)
        return finish(self, pending)

    monkeypatch.setattr(captions, "read_upload", recorded)
    monkeypatch.setattr(CaptionService, "finish", inspect)
    client = start().client
    client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}).raise_for_status()
    client.post("/api/captions?stream=1", content=jpeg, headers={"Content-Type": "image/jpeg"}).raise_for_status()
    assert are_held == [False, False, False]


def test_the_history_limit_holds_even_if_every_caption_is_corrected(tiny_bundle, tmp_path):
    settings = Settings(home=tmp_path / "home", history=6)
    service = CaptionService(settings, Captioner(tiny_bundle, "cpu"))
    options, ids = service.serving.captioner.decoding, []
    for seed in range(15):
        ids.append(service.finish(service.begin(picture_bytes(seed=seed), options)).id)
        service.store.correct(ids[-1], "corrected by anybody")
    assert service.store.ids() == set(ids[-6:])
    assert {path.stem for path in settings.photos_folder.iterdir()} == set(ids[-6:])
    service.close()
