"""Occlusion maps of stored captions, as numbers and as pictures."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import numpy as np
import pytest
from PIL import Image

from captioner.bundle.bundle import save_bundle
from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.figures import figure_strip
from captioner.overlays import overlay
from service.inference import recomputing
from service.store.archives import pack
from tests.support.stored_captions import create_caption


@pytest.fixture
def tiny_config(tiny_config):
    """With more than the four locations of other tests, so that maps differ."""
    return replace(tiny_config, image_size=160)


@pytest.fixture
def document(client, jpeg) -> dict:
    return create_caption(client, jpeg)


def address(document: dict, tail: str = "evidence") -> str:
    return f"/api/captions/{document['id']}/{tail}"


def evidence_of(client: httpx.Client, document: dict, **query) -> np.ndarray:
    response = client.get(address(document), params=query)
    assert response.status_code == 200, response.text
    answer = response.json()
    maps = np.array(answer["maps"])
    assert maps.shape[1:] == (answer["rows"], answer["columns"])
    return maps


@pytest.fixture
def expected(running, document) -> list[np.ndarray]:
    """The library's occlusion maps for each caption of the stored photo."""
    photo, captioner = running.service.photos.open(document["id"]), running.service.serving.captioner
    (captions,) = captioner.captions([photo], replace(captioner.decoding, captions_per_image=2))
    assert [caption.text for caption in captions] == [document["caption"], document["alternatives"][0]["caption"]]
    return [captioner.occlusion_maps(photo, caption) for caption in captions]


@pytest.fixture
def computations(monkeypatch) -> list[DecodingOptions]:
    """Record the options of every computation."""
    options, compute = [], Captioner.occlusion_maps

    def count(self, image, caption, decoding=None):
        options.append(decoding)
        return compute(self, image, caption, decoding)

    monkeypatch.setattr(Captioner, "occlusion_maps", count)
    return options


def test_occlusion_maps_equal_the_librarys_and_differ_from_the_attention(client, document, expected):
    for rank, maps in enumerate(expected, start=1):
        answered_maps = evidence_of(client, document, caption=rank)
        np.testing.assert_allclose(answered_maps, maps, atol=1e-4)
        np.testing.assert_allclose(answered_maps.sum(axis=(1, 2)), 1, atol=1e-4)
    assert not np.allclose(evidence_of(client, document), document["alphas"]["maps"], atol=0.01)


def picture(client: httpx.Client, url: str, **query) -> Image.Image:
    response = client.get(url, params=query)
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def difference(first: Image.Image, second: Image.Image) -> float:
    assert first.size == second.size
    return float(np.abs(np.asarray(first, dtype=float) - np.asarray(second, dtype=float)).mean())


def test_pictures_of_occlusion_maps_are_drawn_on_request(running, client, document, expected):
    photo, captioner = running.service.photos.open(document["id"]), running.service.serving.captioner
    (captions,) = captioner.captions([photo], replace(captioner.decoding, captions_per_image=2))
    for rank, (caption, maps) in enumerate(zip(captions, expected, strict=True), start=1):
        expected_overlay = overlay(photo, maps[1], caption.frame)
        query = {"caption": rank, "maps": "evidence"}
        assert difference(picture(client, address(document, "overlays/2.png"), **query), expected_overlay) < 0.5
        heading = f"{caption.text}: occlusion map of each word"
        figure = figure_strip(photo, caption, maps=maps, heading=heading)
        assert difference(picture(client, address(document, "figure.png"), **query), figure) < 0.5
    for tail in ("overlays/2.png", "figure.png"):
        attention_picture = client.get(address(document, tail)).content
        assert client.get(address(document, tail), params={"maps": "attention"}).content == attention_picture
        assert client.get(address(document, tail), params={"maps": "evidence"}).content != attention_picture


def test_pictures_of_occlusion_maps_are_not_cached_by_browsers(client, document):
    for tail in ("overlays/1.png", "figure.png"):
        assert client.get(address(document, tail), params={"maps": "evidence"}).headers["Cache-Control"] == "no-store"
        assert "immutable" in client.get(address(document, tail), params={"maps": "attention"}).headers["Cache-Control"]
    assert client.get(address(document)).headers["Cache-Control"] == "no-store"


def test_the_maps_of_all_words_are_computed_once(client, document, computations):
    first = evidence_of(client, document)
    for number in range(1, len(document["words"]) + 1):
        picture(client, address(document, f"overlays/{number}.png"), maps="evidence")
    picture(client, address(document, "figure.png"), maps="evidence")
    assert len(computations) == 1
    evidence_of(client, document, caption=2)
    assert len(computations) == 2
    assert np.array_equal(evidence_of(client, document), first) and len(computations) == 2


def test_only_the_latest_maps_are_cached(client, jpeg, computations, monkeypatch):
    monkeypatch.setattr(recomputing, "CACHE_SIZE", 2)
    documents = [create_caption(client, jpeg) for _ in range(3)]
    for document in documents:
        evidence_of(client, document)
    for document in documents[1:]:
        evidence_of(client, document)
    assert len(computations) == 3
    evidence_of(client, documents[0])
    assert len(computations) == 4


def test_occlusion_maps_use_the_options_of_their_caption(running, client, document, computations):
    entry = running.service.store.get(document["id"])
    old_entry = replace(entry, document=entry.document | {"options": {"hard_context": "expected"}})
    running.service.recomputation.occlusion_maps(running.service.serving, old_entry, 1)
    assert computations == [DecodingOptions(hard_context="expected")]


def test_computations_run_one_at_a_time_and_equal_requests_share_one(client, jpeg, monkeypatch):
    running, max_running, computed, lock = 0, 0, [], threading.Lock()
    compute = Captioner.occlusion_maps

    def compute_slowly(self, image, caption, decoding=None):
        nonlocal running, max_running
        with lock:
            running += 1
            max_running = max(max_running, running)
        time.sleep(0.1)
        computed.append(caption)
        with lock:
            running -= 1
        return compute(self, image, caption, decoding)

    monkeypatch.setattr(Captioner, "occlusion_maps", compute_slowly)
    documents = [create_caption(client, jpeg) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda document: client.get(address(document)).status_code, documents * 2))
    assert answers == [200] * 4 and max_running == 1 and len(computed) == 2


def test_a_request_past_its_deadline_gets_503_and_cached_maps_need_no_wait(start, jpeg):
    running = start(deadline_seconds=1)
    cached, document = create_caption(running.client, jpeg), create_caption(running.client, jpeg)
    evidence_of(running.client, cached)
    with running.service.recomputation._lock:
        evidence_of(running.client, cached)
        response = running.client.get(address(document))
    assert response.status_code == 503 and "try again" in response.json()["detail"]
    assert response.headers["Retry-After"] == "10"
    assert running.client.get(address(document)).status_code == 200


def test_a_deleted_caption_has_no_occlusion_maps(client, document):
    evidence_of(client, document)
    client.delete(f"/api/captions/{document['id']}").raise_for_status()
    for tail in ("evidence", "overlays/1.png?maps=evidence", "figure.png?maps=evidence"):
        response = client.get(address(document, tail))
        assert response.status_code == 404 and "deleted" in response.json()["detail"]


def test_a_photo_deleted_meanwhile_counts_as_a_deleted_caption(running, client, document):
    running.service.photos.delete(document["id"])
    response = client.get(address(document))
    assert response.status_code == 404 and "deleted" in response.json()["detail"]


def test_captions_of_another_captioner_have_no_occlusion_maps(client, document, make_bundle, tmp_path):
    maps_before = evidence_of(client, document)
    save_bundle(make_bundle(seed=5), tmp_path / "other")
    file = io.BytesIO()
    pack(tmp_path / "other", file)
    added = client.post("/api/models", content=file.getvalue(), headers={"Content-Type": "application/zip"}).json()
    client.post(f"/api/models/{added['version']}/promote").raise_for_status()
    for tail in ("evidence", "overlays/1.png?maps=evidence", "figure.png?maps=evidence"):
        response = client.get(address(document, tail))
        assert response.status_code == 409 and response.headers["Content-Type"] == "application/problem+json"
        assert document["id"] in response.json()["detail"]
        assert "caption the photo again" in response.json()["detail"]
    assert client.get(address(document, "figure.png")).status_code == 200  # the attention is stored
    client.post("/api/models/rollback").raise_for_status()
    assert np.array_equal(evidence_of(client, document), maps_before)


@pytest.mark.parametrize(
    "tail, status, message",
    [
        ("evidence?caption=3", 404, "count from 1"),
        ("evidence?caption=0", 422, "caption"),
        ("evidence?word=1", 422, "no such option"),
        ("overlays/99.png?maps=evidence", 404, "count from 1"),
        ("overlays/1.png?maps=both", 422, "maps"),
        ("figure.png?maps=evidence&caption=3", 404, "count from 1"),
        ("figure.png?maps=", 422, "maps"),
    ],
)
def test_an_invalid_request_is_a_problem(client, document, computations, tail, status, message):
    response = client.get(address(document, tail))
    assert response.status_code == status and message in response.json()["detail"]
    assert not computations


def test_an_unknown_id_is_a_problem(client):
    assert client.get(f"/api/captions/{'0' * 32}/evidence").status_code == 404
