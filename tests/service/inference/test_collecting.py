"""Photos of collections are captioned in the background: in batches, after requests, and never twice."""

import io
import threading
import time
from collections.abc import Callable, Iterator

import pillow_heif
import pytest
from PIL import Image

from captioner.captioner import Captioner
from service.inference.batching import BACKGROUND_BATCH_SIZE, QUIET_BATCH_SIZE
from service.inference.captioning import CaptionService
from service.inference.collection_reading import PREVIEW_SIDE
from service.settings import Settings
from service.store.collection_listing import PhotoQuery
from service.store.collection_records import CaptionChange, CollectionPhoto
from service.store.photos import write_jpeg
from tests.support.collections import make_collection
from tests.support.photo_sets import photo_bytes, zipped
from tests.support.pictures import picture_bytes

SECONDS = 60


@pytest.fixture
def open_service(tiny_bundle, tmp_path) -> Iterator[Callable[..., CaptionService]]:
    """Each call starts another service with the same data."""
    services = []

    def open_it(captioner: Captioner | None = None, **changes) -> CaptionService:
        settings = Settings(**({"home": tmp_path / "home", "batch_size": 4} | changes))
        settings.make_home()
        services.append(CaptionService(settings, captioner or Captioner(tiny_bundle, "cpu")))
        return services[-1]

    yield open_it
    for service in services:
        service.close()


def start(service: CaptionService, files: dict[str, bytes]) -> str:
    collection = make_collection(service.collections, files)
    service.collecting.wake()
    return collection.id


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def _is_free(service: CaptionService, collection_id: str) -> bool:
    with service.collections.lock(collection_id) as hold:
        return hold is not None


def is_done(service: CaptionService, collection_id: str) -> bool:
    return not service.collections.get(collection_id).counts["waiting"]


def photos_of(service: CaptionService, collection_id: str) -> dict[str, CollectionPhoto]:
    wait_until(lambda: is_done(service, collection_id))
    return {photo.name: photo for photo in service.collection_photos.page(collection_id, PhotoQuery())}


def test_photos_get_the_captions_that_they_get_alone(open_service):
    service = open_service()
    files = {f"{number}.jpg": photo_bytes(number) for number in range(11)}
    photos = photos_of(service, start(service, files))
    options = service.serving.captioner.decoding
    for name, content in files.items():
        alone = service.finish(service.begin(content, options))
        assert (photos[name].generated, photos[name].state) == (alone.caption, "captioned")
        assert (photos[name].width, photos[name].height) == (96, 72)
        assert photos[name].model_version == service.serving.model_version
    assert service.collections.waiting_ids() == []


def test_photos_are_captioned_in_batches(open_service, gate, monkeypatch):
    service = open_service()
    gate.clear()
    sizes = []
    monkeypatch.setattr(service.serving.batcher, "_on_batch", sizes.append)
    collection_id = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(12)})
    wait_until(lambda: len(service.serving.batcher._background) >= 8)
    gate.set()
    photos_of(service, collection_id)
    assert 4 in sizes[1:] and max(sizes) == 4, sizes


def test_the_pace_leaves_out_the_first_results(open_service):
    service = open_service()
    for count in (1, 12):  # in batches of four
        collection_id = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(count)})
        photos_of(service, collection_id)
        assert (service.collections.get(collection_id).seconds_per_photo is None) == (count == 1)


def test_a_request_waits_for_one_small_batch_of_a_collection_at_most(open_service, gate, monkeypatch):
    monkeypatch.setattr("service.inference.batching.BACKGROUND_PATIENCE_SECONDS", 600.0)
    service = open_service(batch_size=16)
    batcher, sizes = service.serving.batcher, []
    gate.clear()
    monkeypatch.setattr(batcher, "_on_batch", sizes.append)
    collection_id = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(40)})
    wait_until(lambda: sizes and len(batcher._background) >= 8)
    request = service.begin(photo_bytes(50), service.serving.captioner.decoding)
    gate.set()
    service.finish(request)
    photos_of(service, collection_id)
    assert sizes[0] <= QUIET_BATCH_SIZE and sizes[1] == 1 and sum(sizes) == 41, sizes
    assert max(sizes[2:]) <= BACKGROUND_BATCH_SIZE, "smaller batches once a request came"


def test_every_file_of_a_mixed_folder_has_its_own_result(open_service):
    service = open_service()
    heic = pillow_heif.from_pillow(Image.open(io.BytesIO(photo_bytes(5))))
    heic.save(buffer := io.BytesIO())
    files = {
        "a/1.jpg": photo_bytes(1),
        "b/1.jpg": photo_bytes(1),  # the same photo
        "c/1.jpg": photo_bytes(6),
        "2.webp": picture_bytes(seed=2, kind="WEBP"),
        "IMG_0001.HEIC": buffer.getvalue(),
        "raw.CR2": b"II*\0\x10\0\0\0CR\x02\0" + bytes(500),
        "letter.docx": zipped({"[Content_Types].xml": b"<Types/>", "word/document.xml": b"<document/>"}),
        "empty.jpg": b"",
        "page.pdf": b"%PDF-1.7 and more",
        "film.mp4": b"\0\0\0\x18ftypisom" + bytes(100),
        "page.html.jpg": b"<!doctype html><html></html>",
        "broken.jpg": photo_bytes(3)[:40],
        "zeros.png": bytes(500),
        "last.png": picture_bytes(seed=4, kind="PNG"),
    }
    photos = photos_of(service, start(service, files))
    captioned = {"a/1.jpg", "b/1.jpg", "c/1.jpg", "2.webp", "IMG_0001.HEIC", "last.png"}
    assert {name for name, photo in photos.items() if photo.state == "captioned"} == captioned
    assert photos["a/1.jpg"].generated == photos["b/1.jpg"].generated
    for name, reason in (
        ("raw.CR2", "a camera's raw photo"),
        ("letter.docx", "The file is not an image that can be read, but an Office document"),
        ("empty.jpg", "The file is empty (0 bytes): replace it with the photo."),
        ("page.pdf", "a PDF document"),
        ("film.mp4", "a video: save one of its frames as JPEG."),
        ("page.html.jpg", "a web page"),
        ("broken.jpg", "The file"),
        ("zeros.png", "nothing but zeros"),
    ):
        assert photos[name].state == "failed" and reason in photos[name].reason, photos[name].reason
        assert photos[name].reason.startswith("The file ") and photos[name].caption is None


def test_a_photo_that_breaks_the_model_fails_alone(open_service, monkeypatch):
    caption_annotations = Captioner.caption_annotations

    def fail(self, annotations, frames, *arguments):
        if any(frame.width == 33 for frame in frames):
            raise RuntimeError("a poison photo")
        return caption_annotations(self, annotations, frames, *arguments)

    service = open_service()
    monkeypatch.setattr(Captioner, "caption_annotations", fail)
    files = {"1.jpg": photo_bytes(1), "poison.jpg": picture_bytes(33, 20), "2.jpg": photo_bytes(2)}
    photos = photos_of(service, start(service, files))
    assert [photo.state for photo in photos.values()] == ["captioned", "failed", "captioned"]
    assert "caption it again" in photos["poison.jpg"].reason


def test_a_preview_is_small_and_upright(open_service):
    service = open_service()
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3000, 1000), "navy").save(buffer, "JPEG", exif=exif)
    collection_id = start(service, {"a.jpg": buffer.getvalue()})
    photos_of(service, collection_id)
    with Image.open(service.collections.preview_file(collection_id, 1)) as preview:
        assert preview.size == (341, PREVIEW_SIDE) and not preview.getexif()
    assert service.collections.photo_file(collection_id, 1).read_bytes() == buffer.getvalue(), "the photo is unchanged"


def test_a_photo_that_is_deleted_while_it_is_read_leaves_no_preview(open_service, monkeypatch):
    service = open_service()

    def delete_first(file, photo):
        service.collection_photos.delete(collection_id, [1])
        write_jpeg(file, photo)

    monkeypatch.setattr("service.inference.collection_reading.write_jpeg", delete_first)
    collection_id = make_collection(service.collections, {"a.jpg": photo_bytes(1)}).id
    service.collecting.wake()
    wait_until(lambda: service.collections.get(collection_id).photos == 0 and _is_free(service, collection_id))
    assert not service.collections.preview_file(collection_id, 1).exists()


def test_requests_go_before_the_photos_of_a_collection(open_service, gate, monkeypatch):
    monkeypatch.setattr("service.inference.batching.BACKGROUND_PATIENCE_SECONDS", 600.0)
    service = open_service()
    gate.clear()
    sizes = []  # a batch is taken from the queue before the photos in it are counted
    monkeypatch.setattr(service.serving.batcher, "_on_batch", sizes.append)
    collection_id = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(40)})
    wait_until(lambda: sizes and len(service.serving.batcher._background) >= 4)
    pending, still_queued = service.begin(picture_bytes(), service.serving.captioner.decoding), []
    queue = service.serving.batcher._background
    pending.future.add_done_callback(lambda _: still_queued.append(len(queue)))
    gate.set()
    service.finish(pending)
    assert still_queued[0] >= 4, "the request did not wait for the collection"
    photos_of(service, collection_id)


def test_a_cancelled_collection_keeps_its_captions_and_stops(open_service, gate):
    service = open_service()
    gate.clear()
    collection_id = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(60)})
    wait_until(lambda: len(service.serving.batcher._background) >= 4)
    service.collections.cancel(collection_id)
    gate.set()
    wait_until(lambda: service.collections.get(collection_id).counts["captioned"])
    wait_until(lambda: _is_free(service, collection_id))  # the turn is over
    counts = service.collections.get(collection_id).counts
    assert counts["waiting"] > 20 and counts["captioned"] > 0
    service.collection_photos.caption_again(collection_id, ("waiting",))
    service.collecting.wake()
    wait_until(lambda: is_done(service, collection_id))
    assert service.collections.get(collection_id).counts["captioned"] == 60


def test_a_deleted_collection_stops_at_once_and_others_go_on(open_service, gate):
    service = open_service()
    gate.clear()
    doomed = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(30)})
    wait_until(lambda: len(service.serving.batcher._background) >= 4)
    service.collections.delete(doomed)
    other = start(service, {"a.jpg": photo_bytes(1)})
    gate.set()
    assert photos_of(service, other)["a.jpg"].state == "captioned"


def test_a_stopped_service_leaves_photos_waiting_for_the_next(open_service, gate):
    service = open_service()
    gate.clear()
    collection_id = start(service, {f"{number}.jpg": photo_bytes(number) for number in range(40)})
    wait_until(lambda: len(service.serving.batcher._background) >= 4)
    service.collection_photos.correct(collection_id, [CaptionChange(40, "mine", 0)])
    closing = threading.Thread(target=service.close)
    closing.start()
    wait_until(lambda: service.is_stopping)
    gate.set()
    closing.join(SECONDS)
    assert not closing.is_alive()

    second = open_service()
    photos = photos_of(second, collection_id)
    assert {photo.state for photo in photos.values()} == {"captioned"} and photos["39.jpg"].caption == "mine"


def test_of_two_services_one_captions_a_collection(open_service, monkeypatch):
    first, second = open_service(), open_service()
    counts = {}
    for service in (first, second):
        record = service.collection_photos.record

        def count(collection_id, results, *arguments, service=service, record=record):
            counts[service] = counts.get(service, 0) + len(results)
            record(collection_id, results, *arguments)

        monkeypatch.setattr(service.collection_photos, "record", count)
    collection_id = start(first, {f"{number}.jpg": photo_bytes(number) for number in range(30)})
    second.collecting.wake()
    wait_until(lambda: is_done(first, collection_id))
    assert sum(counts.values()) == 30, "no photo was captioned twice"


def test_photos_captioned_again_use_the_captioner_in_use(open_service, make_bundle):
    service = open_service()
    collection_id = start(service, {"a.jpg": photo_bytes(1)})
    before = photos_of(service, collection_id)["a.jpg"]
    service.close()
    second = open_service(Captioner(make_bundle(7), "cpu"))
    second.collection_photos.caption_again(collection_id, ("captioned",))
    second.collecting.wake()
    after = photos_of(second, collection_id)["a.jpg"]
    assert before.model_version != after.model_version == second.serving.model_version


def test_a_photo_that_is_to_be_captioned_again_meanwhile_is(open_service, gate, monkeypatch):
    service, results = open_service(), []
    record = service.collection_photos.record

    def record_and_count(collection_id, new_results, *pace):
        results.extend(new_results)
        record(collection_id, new_results, *pace)

    monkeypatch.setattr(service.collection_photos, "record", record_and_count)
    gate.clear()
    collection_id = start(service, {"a.jpg": photo_bytes(1)})
    wait_until(lambda: service.serving.batcher.busy_seconds)
    service.collection_photos.caption_again(collection_id, ("captioned", "failed", "waiting"))
    gate.set()
    assert photos_of(service, collection_id)["a.jpg"].state == "captioned"
    assert [result.number for result in results] == [1, 1] and results[0].revision < results[1].revision


def test_a_database_that_fails_for_a_while_loses_no_photo(open_service, monkeypatch):
    service = open_service()
    record, failures = service.collection_photos.record, iter([OSError(28, "No space left on device")])

    def fail_once(*arguments):
        for error in failures:
            raise error
        record(*arguments)

    monkeypatch.setattr("service.inference.collecting.POLL_SECONDS", 0.05)
    monkeypatch.setattr(service.collection_photos, "record", fail_once)
    photos = photos_of(service, start(service, {f"{number}.jpg": photo_bytes(number) for number in range(6)}))
    assert {photo.state for photo in photos.values()} == {"captioned"}
