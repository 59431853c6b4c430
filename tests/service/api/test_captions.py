"""Captions over HTTP: from a photo in each accepted form, streamed, listed, corrected, deleted."""

import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # registers what writes JPEG XL
import pytest
from PIL import Image

from captioner.captioner import Captioner
from captioner.confidence.model import UNDESCRIBABLE_CONFIDENCE
from captioner.config import DecodingOptions
from tests.support.confidence_models import drawn_model
from tests.support.pictures import picture_bytes

pillow_heif.register_heif_opener()  # also registers the HEIC encoder


def post(client, data, **query):
    return client.post("/api/captions", params=query, content=data, headers={"Content-Type": "image/jpeg"})


def create_caption(client, data, **query) -> dict:
    response = post(client, data, **query)
    assert response.status_code == 201, response.text
    return response.json()


def events(client, data, **query) -> list[tuple[str, dict]]:
    with client.stream(
        "POST", "/api/captions", params={"stream": 1} | query, content=data, headers={"Content-Type": "image/jpeg"}
    ) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        response.read()
    parsed = []
    for block in response.text.strip().split("\n\n"):
        name, data = block.split("\n")
        parsed.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return parsed


def blank_jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (96, 64), "navy").save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_answer_equals_the_librarys_caption(client, jpeg, tiny_bundle):
    before = datetime.now(UTC)
    response = post(client, jpeg)
    document = response.json()
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/captions/{document['id']}"
    (expected,) = Captioner(tiny_bundle, "cpu").caption([jpeg])
    assert document["caption"] == expected.text
    assert document["probability"] == pytest.approx(expected.probability, rel=1e-4)
    assert [word["text"] for word in document["words"]] == list(expected.words)
    probabilities = [word["probability"] for word in document["words"]]
    np.testing.assert_allclose(probabilities, np.exp(expected.word_log_probs), rtol=1e-4)
    np.testing.assert_allclose([word["gate"] for word in document["words"]], expected.gates, rtol=1e-4)
    np.testing.assert_allclose([word["spread"] for word in document["words"]], expected.spreads, rtol=1e-4)
    assert (document["alphas"]["rows"], document["alphas"]["columns"]) == (2, 2)
    np.testing.assert_allclose(document["alphas"]["maps"], expected.alphas, atol=1e-5)
    assert document["image"]["width"] == 96 and document["image"]["height"] == 64
    assert document["image"]["seen_box"] == list(expected.frame.seen_box) == [16, 0, 80, 64]
    assert document["alternatives"] == [] and document["correction"] is None
    assert document["options"] == {"beam_width": 3, "captions": 1, "max_words": 8}
    assert set(document["seconds"]) == {"decode_image", "queue", "encode", "decode_words"}
    assert all(0 <= seconds < 10 for seconds in document["seconds"].values())
    assert before - timedelta(seconds=1) < datetime.fromisoformat(document["created_at"]) <= datetime.now(UTC)


def test_captions_of_a_captioner_with_a_confidence_model_have_a_confidence(start, jpeg, tiny_bundle):
    client = start(Captioner(replace(tiny_bundle, confidence=drawn_model(64, 0.5, 1.0)), "cpu")).client
    document = create_caption(client, jpeg, captions=2)
    assert document["confidence"] == pytest.approx(1 / (1 + np.exp(-0.5))) and document["wording"] == "likely"
    assert document["alternatives"][0]["wording"] == "likely"
    wordings = {word["text"]: (word["confidence"], word["wording"]) for word in document["words"]}
    sure, unsure = 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))
    for text, (confidence, wording) in wordings.items():
        if text in ("a", "on", "the", "with"):
            assert confidence is None is wording
        elif text in ("runs", "red"):
            assert confidence == pytest.approx(sure) and wording == "likely"
        else:
            assert confidence == pytest.approx(unsure) and wording == "guess"
    stored = client.get(f"/api/captions/{document['id']}").json()
    assert stored == document
    (summary,) = client.get("/api/captions").json()["captions"]
    assert summary["confidence"] == document["confidence"] and summary["wording"] == "likely"
    assert dict(events(client, jpeg))["caption"]["confidence"] == pytest.approx(document["confidence"])
    blank = create_caption(client, blank_jpeg())
    assert blank["confidence"] == UNDESCRIBABLE_CONFIDENCE and blank["wording"] == "guess"


def test_without_a_confidence_model_the_confidence_is_null(client, jpeg):
    document = create_caption(client, jpeg)
    (summary,) = client.get("/api/captions").json()["captions"]
    for item in (document, summary, *document["words"]):
        assert item["confidence"] is None is item["wording"]


def test_a_caption_stored_by_an_older_version_has_no_confidence(running, jpeg):
    """Stored before confidence existed."""
    document = create_caption(running.client, jpeg)
    store = running.service.store
    entry = store.get(document["id"])
    for caption in entry.document["captions"]:
        del caption["confidence"], caption["word_confidences"]
    store.delete(entry.id)
    store.add(entry)
    assert running.client.get(f"/api/captions/{entry.id}").json() == document


def test_every_url_in_the_answer_works(client, jpeg):
    document = create_caption(client, jpeg, captions=3)
    ranked = [document, *document["alternatives"]]
    pictures = [caption["figure"] for caption in ranked]
    pictures += [word["overlay"] for caption in ranked for word in caption["words"]]
    for url in [*pictures, document["image"]["url"]]:
        response = client.get(url)
        assert response.status_code == 200, url
        Image.open(io.BytesIO(response.content)).load()


def test_the_three_forms_of_an_upload_give_the_same_caption(client, jpeg):
    raw = create_caption(client, jpeg, captions=2, max_words=5)
    options = {"captions": "2", "max_words": "5"}
    form = client.post("/api/captions", files={"image": ("x.jpg", jpeg)}, data=options)
    encoded = {"image": base64.b64encode(jpeg).decode(), "captions": 2, "max_words": 5}
    as_json = client.post("/api/captions", json=encoded)
    as_url = client.post("/api/captions", json=encoded | {"image": f"data:image/jpeg;base64,{encoded['image']}"})
    as_lines = client.post("/api/captions", json=encoded | {"image": base64.encodebytes(jpeg).decode().rstrip("=\n")})
    as_url_text = client.post("/api/captions", json=encoded | {"image": base64.urlsafe_b64encode(jpeg).decode()})
    for response in (form, as_json, as_url, as_lines, as_url_text):
        assert response.status_code == 201, response.text
        for key in ("caption", "probability", "alphas", "options"):
            assert response.json()[key] == raw[key]
        assert [a["caption"] for a in response.json()["alternatives"]] == [a["caption"] for a in raw["alternatives"]]


@pytest.mark.parametrize("form", ["HEIF", "JXL"])
def test_heic_and_jpeg_xl_photos_are_captioned_and_shown_as_jpeg(client, form):
    """Turned upright once, also in the copy, which browsers show where they cannot show the photo itself."""
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (96, 64), (200, 30, 30))
    stored.paste((30, 30, 200), (0, 0, 48, 64))  # at the top, once it is turned
    buffer = io.BytesIO()
    stored.save(buffer, form, exif=exif.tobytes(), quality=95)
    headers = {"Content-Type": f"image/{form.lower()}"}
    document = client.post("/api/captions", content=buffer.getvalue(), headers=headers).json()
    assert (document["image"]["width"], document["image"]["height"]) == (64, 96)
    answer = client.get(document["image"]["url"])
    copy = Image.open(io.BytesIO(answer.content))
    assert answer.headers["Content-Type"] == "image/jpeg" and copy.size == (64, 96)
    assert copy.getpixel((32, 20))[2] > 150 and copy.getpixel((32, 76))[0] > 150


def test_decoding_options_of_the_query_are_applied(client, jpeg):
    assert len(create_caption(client, jpeg, max_words=2)["words"]) <= 2
    several = create_caption(client, jpeg, captions=5)
    probabilities = [several["probability"]] + [other["probability"] for other in several["alternatives"]]
    assert len(probabilities) == 5
    assert several["options"]["beam_width"] == 5, "a beam of 3 cannot return five captions: it is widened"
    assert len({several["caption"]} | {other["caption"] for other in several["alternatives"]}) == 5
    assert create_caption(client, jpeg, beam_width=1)["options"]["beam_width"] == 1


@pytest.mark.parametrize("beam_width", [1, 3])
def test_a_stream_gives_each_word_once_and_then_the_same_caption(client, jpeg, beam_width):
    received = events(client, jpeg, beam_width=beam_width)
    names = [name for name, _ in received]
    document = received[-1][1]
    assert names == ["image"] + ["word"] * len(document["words"]) + ["caption"]
    assert received[0][1] == {
        "image": {key: document["image"][key] for key in ("width", "height", "seen_box")},
        "grid": [2, 2],
        "warnings": [],
    }
    for index, (_, word) in enumerate(received[1:-1]):
        complete = document["words"][index]
        assert (word["index"], word["text"]) == (index, complete["text"])
        assert word["probability"] == pytest.approx(complete["probability"], rel=1e-4)
        assert word["gate"] == pytest.approx(complete["gate"], rel=1e-4)
        assert word["spread"] == pytest.approx(complete["spread"], rel=1e-4)
        np.testing.assert_allclose(word["map"], document["alphas"]["maps"][index], atol=1e-5)
    assert document["caption"] == create_caption(client, jpeg, beam_width=beam_width)["caption"]
    assert client.get(f"/api/captions/{document['id']}").json() == document


@pytest.mark.parametrize("photo, kind", [("blank", "blank"), ("cut", "cut_short"), ("whole", None)])
def test_warnings_about_a_photo_are_in_every_answer(client, photo, kind):
    data = {"blank": blank_jpeg(), "cut": picture_bytes()[:-500], "whole": picture_bytes()}[photo]
    document = create_caption(client, data)
    assert [warning["kind"] for warning in document["warnings"]] == ([kind] if kind else [])
    assert all(warning["message"].endswith(".") for warning in document["warnings"])
    assert client.get(f"/api/captions/{document['id']}").json() == document
    assert client.get("/api/captions").json()["captions"][0]["warnings"] == document["warnings"]
    received = events(client, data)
    assert received[0][1]["warnings"] == received[-1][1]["warnings"] == document["warnings"]


def test_words_are_sent_while_later_words_are_still_being_chosen(start, tiny_bundle, jpeg):
    """The model chooses the next word only once the client has the one before."""
    received, waited = threading.Semaphore(0), []

    class Patient(Captioner):
        def caption_annotations(self, annotations, frames, options=None, on_words=None):
            def patiently(image, caption):
                on_words(image, caption)
                if len(caption.words) > len(waited):
                    waited.append(received.acquire(timeout=60))

            return super().caption_annotations(annotations, frames, options, patiently if on_words else None)

    running = start(Patient(tiny_bundle, "cpu"), deadline_seconds=300)
    words = 0
    with running.client.stream(
        "POST",
        "/api/captions?stream=1&beam_width=1",
        content=jpeg,
        headers={"Content-Type": "image/jpeg"},
        timeout=300,
    ) as response:
        for line in response.iter_lines():
            if line.startswith("event: word"):
                words += 1
                received.release()
    assert words >= 3 and len(waited) >= 3 and all(waited)


def test_a_stream_of_an_unreadable_photo_is_an_ordinary_problem(client):
    response = post(client, b"not a photo", stream=1)
    assert response.status_code == 415
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_failure_after_the_stream_began_is_its_last_event(start, tiny_bundle, jpeg, caplog):
    class Failing(Captioner):
        def caption_annotations(self, *arguments, **options):
            if getattr(self, "warm", False):
                raise RuntimeError("secret inside")
            self.warm = True
            return super().caption_annotations(*arguments, **options)

    running = start(Failing(tiny_bundle, "cpu"))
    received = events(running.client, jpeg)
    assert [name for name, _ in received] == ["image", "problem"]
    assert received[-1][1]["status"] == 500 and "secret" not in received[-1][1]["detail"]
    assert "secret inside" in caplog.text, "operators find the error in the log"
    assert running.client.get("/api/captions").json()["total"] == 0


def test_a_reader_who_leaves_a_stream_does_not_block_later_captions(running, jpeg):
    with running.client.stream(
        "POST", "/api/captions?stream=1", content=jpeg, headers={"Content-Type": "image/jpeg"}
    ) as response:
        next(response.iter_lines())
    assert create_caption(running.client, jpeg)["caption"]
    assert running.client.get("/api/health/ready").status_code == 200


def test_a_caption_can_be_read_again(client, jpeg):
    document = create_caption(client, jpeg, captions=3)
    response = client.get(f"/api/captions/{document['id']}")
    assert response.status_code == 200 and response.json() == document


def test_the_history_lists_the_newest_captions_first_in_pages(client, jpeg):
    ids = [create_caption(client, jpeg)["id"] for _ in range(5)]
    pages = [client.get("/api/captions", params={"page": page, "per_page": 2}).json() for page in (1, 2, 3, 4)]
    assert [entry["id"] for page in pages for entry in page["captions"]] == ids[::-1]
    assert [len(page["captions"]) for page in pages] == [2, 2, 1, 0]
    assert all((page["total"], page["pages"], page["per_page"]) == (5, 3, 2) for page in pages)
    entry = pages[0]["captions"][0]
    thumbnail = Image.open(io.BytesIO(client.get(entry["image"]["thumbnail"]).content))
    assert thumbnail.size == (96, 64), "small photos are not enlarged"
    assert client.get("/api/captions").json()["captions"][0] == entry


def test_a_correction_is_kept_and_can_be_withdrawn(client, jpeg):
    url = f"/api/captions/{create_caption(client, jpeg)['id']}"
    response = client.put(f"{url}/correction", json={"text": "Zwei Hunde im Schnee"})
    assert response.status_code == 200 and response.json()["text"] == "Zwei Hunde im Schnee"
    assert client.get(url).json()["correction"] == response.json()
    assert client.get("/api/captions").json()["captions"][0]["correction"] == response.json()
    client.put(f"{url}/correction", json={"text": "Two dogs"})
    assert client.get(url).json()["correction"]["text"] == "Two dogs"
    assert client.delete(f"{url}/correction").status_code == 204
    assert client.get(url).json()["correction"] is None


@pytest.mark.parametrize("text", ["", "x" * 501, " \n ", None, 3])
def test_an_invalid_correction_is_refused(client, jpeg, text):
    url = f"/api/captions/{create_caption(client, jpeg)['id']}"
    response = client.put(f"{url}/correction", json={"text": text})
    assert response.status_code == 422 and "text" in response.json()["detail"]
    assert client.get(url).json()["correction"] is None


def test_deleting_a_caption_deletes_its_photo(running, jpeg):
    client = running.client
    document = create_caption(client, jpeg)
    other = create_caption(client, jpeg)
    url = f"/api/captions/{document['id']}"
    assert client.delete(url).status_code == 204
    urls = [url, f"{url}/image", f"{url}/overlays/1.png", f"{url}/figure.png"]
    assert [client.get(address).status_code for address in urls] == [404] * 4
    assert client.delete(url).status_code == 404
    assert client.put(f"{url}/correction", json={"text": "x"}).status_code == 404
    assert client.delete(f"{url}/correction").status_code == 404
    files = [path.name for path in running.service.settings.photos_folder.rglob("*") if path.is_file()]
    assert [name for name in files if document["id"] in name] == []
    assert [name for name in files if other["id"] in name]


def test_captions_survive_a_restart(start, jpeg):
    first = start()
    document = create_caption(first.client, jpeg)
    second = start()
    assert second.client.get(f"/api/captions/{document['id']}").json() == document
    assert second.client.get(document["image"]["url"]).content == first.client.get(document["image"]["url"]).content


def test_the_oldest_captions_of_a_long_history_are_removed_unless_corrected(start, jpeg):
    client = start(history=3).client
    first = create_caption(client, jpeg)
    client.put(f"/api/captions/{first['id']}/correction", json={"text": "kept"})
    others = [create_caption(client, jpeg) for _ in range(4)]
    remaining_ids = {entry["id"] for entry in client.get("/api/captions").json()["captions"]}
    assert remaining_ids == {first["id"], others[2]["id"], others[3]["id"]}
    assert client.get(others[0]["image"]["url"]).status_code == 404


def test_simultaneous_photos_share_forward_passes(start, tiny_bundle, jpeg):
    class Slow(Captioner):
        sizes = []

        def encode(self, pixels):
            self.sizes.append(len(pixels))
            time.sleep(0.1)
            return super().encode(pixels)

    running = start(Slow(tiny_bundle, "cpu"), batch_size=8)
    Slow.sizes.clear()

    def send(_):
        with httpx.Client(base_url=running.url, timeout=30, trust_env=False, verify=False) as client:
            return create_caption(client, jpeg)

    with ThreadPoolExecutor(12) as pool:
        documents = list(pool.map(send, range(12)))
    assert len({document["caption"] for document in documents}) == 1
    assert len({document["id"] for document in documents}) == 12
    assert sum(Slow.sizes) == 12 and max(Slow.sizes) >= 4


def test_a_request_from_another_site_is_refused(client, jpeg):
    headers = {"Content-Type": "image/jpeg", "Sec-Fetch-Site": "cross-site"}
    response = client.post("/api/captions", content=jpeg, headers=headers)
    assert response.status_code == 403
    assert client.get("/api/captions", headers={"Sec-Fetch-Site": "cross-site"}).json()["total"] == 0
    own = client.post("/api/captions", content=jpeg, headers=headers | {"Sec-Fetch-Site": "same-origin"})
    assert own.status_code == 201


def test_the_defaults_come_from_the_bundle(running, jpeg):
    assert running.service.serving.captioner.decoding == DecodingOptions(beam_width=3, max_words=8)
    assert create_caption(running.client, jpeg)["options"] == {"beam_width": 3, "captions": 1, "max_words": 8}
