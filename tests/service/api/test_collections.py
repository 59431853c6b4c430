"""Collections over HTTP: sent in several forms, followed while they are captioned, taken away, trained on."""

import io
import json
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.support.photo_sets import photo_bytes, zipped
from tests.support.serving import Running

SECONDS = 60
PHOTOS = {f"dogs/{number}.jpg": photo_bytes(number) for number in range(1, 6)}


def form(files: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (name, content)) for name, content in files.items()]


def create(client: httpx.Client, files: dict[str, bytes] = PHOTOS, **data) -> dict:
    response = client.post("/api/collections", files=form(files), data=data)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"/api/collections/{response.json()['id']}"
    return response.json()


def finished(client: httpx.Client, collection: dict) -> dict:
    """Wait until no photo waits, and return the collection."""
    end = time.monotonic() + SECONDS
    while (document := client.get(f"/api/collections/{collection['id']}").json())["waiting"]:
        assert time.monotonic() < end
        time.sleep(0.05)
    return document


def photos_of(client: httpx.Client, collection: dict, **query) -> list[dict]:
    response = client.get(f"/api/collections/{collection['id']}/photos", params=query)
    assert response.status_code == 200, response.text
    return response.json()["photos"]


@pytest.fixture
def stranger(running) -> Iterator[httpx.Client]:
    """A client without the token."""
    with httpx.Client(base_url=running.url, trust_env=False, verify=False, timeout=SECONDS) as client:
        yield client


def test_photos_of_a_form_become_a_collection_with_captions(client):
    created = create(client)
    assert (created["name"], created["photos"], created["added"], created["known"]) == ("dogs", 5, 5, 0)
    document = finished(client, created)
    assert (document["state"], document["captioned"], document["failed"], document["seconds_left"]) == (
        "done",
        5,
        0,
        None,
    )
    assert document["bytes"] == sum(map(len, PHOTOS.values()))
    photos = photos_of(client, created)
    assert [photo["name"] for photo in photos] == list(PHOTOS)
    for photo in photos:
        alone = client.post("/api/captions", files={"image": PHOTOS[photo["name"]]}).json()
        assert photo["caption"] == photo["generated"] == alone["caption"] and not photo["corrected"]
        assert photo["confidence"] == alone["confidence"] and photo["model"] == alone["model"]["version"]
        with Image.open(io.BytesIO(client.get(photo["thumbnail"], params={"size": 48}).content)) as thumbnail:
            assert max(thumbnail.size) == 48


def test_a_zip_in_a_form_or_as_the_body_becomes_a_collection(client):
    files = PHOTOS | {"notes.txt": b"buy milk", "__MACOSX/._1.jpg": b"x", "page.pdf": b"%PDF-1.7"}
    created = create(client, {"C:\\Käse 2024.zip": zipped(files)})
    assert (created["name"], created["added"], created["left_out_count"]) == ("Käse 2024", 6, 1)
    assert created["left_out"] == [{"name": "notes.txt", "reason": "it is no photo, but a text"}]
    assert finished(client, created)["failed"] == 1
    (failed,) = photos_of(client, created, state="failed")
    assert failed["name"] == "page.pdf" and "a PDF document" in failed["reason"] and failed["caption"] is None
    assert client.get(failed["thumbnail"]).status_code == 404

    response = client.post(
        "/api/collections", params={"name": "mine"}, content=zipped(PHOTOS), headers={"Content-Type": "application/zip"}
    )
    assert response.status_code == 201 and (response.json()["name"], response.json()["photos"]) == ("mine", 5)


def test_names_of_all_kinds_come_back_unchanged(client):
    names = ["a/b.jpg", "c/b.jpg", "it's.jpg", "Käse 🧀.jpg", f"{'é' * 250}.jpg", "كلب.jpg", "a;b,c.jpg"]
    files = {name: photo_bytes(seed) for seed, name in enumerate(names)}
    files |= {'line\r\n"quoted".jpg': photo_bytes(99), "100%25 of %C3.jpg": photo_bytes(100)}
    for sent in (files, {"odd.zip": zipped(files)}):  # a form escapes quotes and line breaks
        assert [photo["name"] for photo in photos_of(client, create(client, sent))] == list(files)


def test_the_words_of_a_caption_have_the_maps_that_they_have_alone(client):
    files = {"1.jpg": photo_bytes(1), "broken.jpg": b""}
    created = finished(client, create(client, files))
    url = f"/api/collections/{created['id']}/photos"
    client.patch(f"{url}/1", json={"caption": "a person wrote this", "version": 0}).raise_for_status()
    words = client.get(f"{url}/1/words").json()
    alone = client.post("/api/captions", files={"image": files["1.jpg"]}).json()
    assert (words["caption"], words["seen_box"]) == (alone["caption"], alone["image"]["seen_box"])
    for name in ("text", "probability", "gate", "spread", "confidence", "map_of"):
        mine, theirs = ([word[name] for word in document["words"]] for document in (words, alone))
        assert mine == (pytest.approx(theirs, abs=1e-5) if isinstance(theirs[0], float) else theirs), name
    for mine, theirs in zip(words["alphas"]["maps"], alone["alphas"]["maps"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)
    response = client.get(f"{url}/2/words")
    assert response.status_code == 404 and "no caption of photo 2" in response.json()["detail"]


def test_photos_are_added_later_and_a_folder_sent_again_adds_only_what_is_new(client):
    created = finished(client, create(client, name="My dogs"))
    assert created["name"] == "My dogs"
    more = PHOTOS | {"dogs/9.jpg": photo_bytes(9), "dogs/copy.jpg": photo_bytes(1)}
    response = client.post(f"/api/collections/{created['id']}/photos", files=form(more))
    assert response.status_code == 201, response.text
    assert (response.json()["added"], response.json()["known"], response.json()["photos"]) == (2, 5, 7)
    assert finished(client, created)["captioned"] == 7
    assert [photo["same_as"] for photo in photos_of(client, created)] == [None] * 6 + [1]


def test_an_addition_without_photos_changes_nothing(client, gate):
    gate.clear()
    created = create(client)
    url = f"/api/collections/{created['id']}"
    client.post(f"{url}/cancel").raise_for_status()
    response = client.post(f"{url}/photos", files=form({"notes.txt": b"hello"}))
    assert response.status_code == 201, response.text
    document = response.json()
    assert (document["added"], document["known"], document["photos"], document["state"]) == (0, 0, 5, "cancelled")
    assert document["left_out"] == [{"name": "notes.txt", "reason": "it is no photo, but a text"}]


def test_an_interrupted_upload_leaves_nothing(running):
    url = httpx.URL(running.url)
    import socket

    with socket.create_connection((url.host, url.port), timeout=SECONDS) as connection:
        head = "POST /api/collections HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\n"
        connection.sendall(f"{head}Content-Length: 100000\r\n\r\n".encode() + zipped(PHOTOS)[:2000])
    assert running.client.get("/api/collections").json() == {"collections": []}
    assert list(running.service.settings.collections_folder.iterdir()) == []


def test_a_collection_is_followed_until_no_photo_waits(client, gate):
    gate.clear()
    created = create(client)
    events = []
    with client.stream("GET", f"/api/collections/{created['id']}/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        name = ""
        for line in response.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
                gate.set()  # after the first event
    assert events[0][0] == "collection" and events[0][1]["state"] == "captioning"
    documents = [data for name, data in events if name == "collection"]
    assert documents[-1]["state"] == "done" and documents[-1]["captioned"] == 5
    captions = {
        photo["number"]: photo["caption"] for name, data in events if name == "photos" for photo in data["photos"]
    }
    assert captions == {photo["number"]: photo["caption"] for photo in photos_of(client, created)}


def test_events_resume_after_a_break(client):
    created = finished(client, create(client))
    client.patch(f"/api/collections/{created['id']}/photos/2", json={"caption": "mine", "version": 0})
    url = f"/api/collections/{created['id']}/events"
    for options in (
        {"params": {"since": created["revision"]}},
        {"headers": {"Last-Event-ID": str(created["revision"])}},
    ):
        text = client.get(url, **options).text
        assert "event: photos" in text and '"number":2' in text and '"number":1,' not in text
    assert "event: photos" not in client.get(url).text


def test_those_who_follow_a_collection_learn_of_deleted_photos(client):
    created = finished(client, create(client))
    url = f"/api/collections/{created['id']}"
    client.delete(f"{url}/photos?number=2&number=4").raise_for_status()
    text = client.get(f"{url}/events", params={"since": created["revision"]}).text
    assert "event: deleted" in text and '{"numbers":[2,4]}' in text
    last_id = text.rpartition("id: ")[2].partition("\n")[0]
    assert "event: deleted" not in client.get(f"{url}/events", params={"since": last_id}).text
    absurd = client.get(f"{url}/events", headers={"Last-Event-ID": "9" * 30})
    assert absurd.status_code == 200 and "event: deleted" not in absurd.text


def test_a_cancelled_collection_continues_on_request(client, gate):
    gate.clear()
    created = create(client, {f"{number}.jpg": photo_bytes(number) for number in range(60)})
    cancelled = client.post(f"/api/collections/{created['id']}/cancel").json()
    assert cancelled["state"] == "cancelled" and cancelled["waiting"] == 60
    gate.set()
    again = client.post(f"/api/collections/{created['id']}/caption-again", json={"photos": "waiting"})
    assert again.json()["state"] == "captioning"
    assert finished(client, created)["captioned"] == 60


def test_captioning_again_keeps_what_people_wrote(client):
    created = finished(client, create(client))
    url = f"/api/collections/{created['id']}"
    client.patch(f"{url}/photos/2", json={"caption": "a tiger", "version": 0})
    assert client.post(f"{url}/caption-again", json={}).json()["waiting"] == 4
    assert finished(client, created)["captioned"] == 5
    assert photos_of(client, created)[1]["caption"] == "a tiger"


def test_renaming_deleting_and_listing_need_the_token(client, stranger):
    created = create(stranger)
    url = f"/api/collections/{created['id']}"
    for method, path, body in (
        ("GET", "/api/collections", None), ("PATCH", url, {"name": "x"}), ("DELETE", url, None),
        ("DELETE", f"{url}/photos?number=1", None), ("POST", f"{url}/dataset", {}),
    ):  # fmt: skip
        assert stranger.request(method, path, json=body).status_code == 401, path
    finished(stranger, created)
    assert stranger.patch(f"{url}/photos/1", json={"caption": "x", "version": 0}).status_code == 200
    assert client.patch(url, json={"name": " Holiday "}).json()["name"] == "Holiday"
    assert [collection["id"] for collection in client.get("/api/collections").json()["collections"]] == [created["id"]]
    assert client.delete(url).status_code == 204
    for path in (url, f"{url}/photos", f"{url}/photos/1", f"{url}/photos/1/thumbnail.jpg", f"{url}/events"):
        assert client.get(path).status_code == 404, path
    assert client.delete(url).status_code == 404


@pytest.mark.parametrize(
    "options, status, message",
    [
        ({"files": [("file", ("a.zip", b"GIF89a"))]}, 422, "damaged or truncated"),
        ({"files": [("file", ("notes.txt", b"hello"))]}, 422, "notes.txt: it is no photo, but a text"),
        ({"files": [("image", ("a.jpg", photo_bytes(1)))]}, 422, "The field image is unknown"),
        ({"files": [("file", ("a.jpg", b"x"))], "data": {"x": "1"}}, 422, "The field x is unknown"),
        ({"files": [("file", ("a.jpg", b"x"))], "data": {"name": " "}}, 422, "name"),
        ({"files": [("file", ("a.zip", zipped({"../a.jpg": b"x"})))]}, 422, "outside its own folder"),
        ({"data": {"name": "x"}, "files": {}}, 415, "Content-Type"),
        ({"content": b"", "headers": {"Content-Type": "application/zip"}}, 400, "There is no zip"),
        ({"json": {"a": 1}}, 415, "application/json is not supported"),
        ({"params": {"nme": "x"}, "files": [("file", ("a.jpg", b"x"))]}, 422, "there is no such option"),
    ],
)
def test_an_upload_without_photos_is_refused_and_leaves_nothing(running, options, status, message):
    response = running.client.post("/api/collections", **options)
    assert response.status_code == status and message in response.json()["detail"], response.text
    assert list(running.service.settings.collections_folder.iterdir()) == []


def test_with_the_token_a_collection_may_be_as_large_as_a_data_set(start):
    running = start(max_upload_mb=1, max_dataset_mb=20)
    content = zipped(PHOTOS | {"large.png": bytes(8_000_000)})
    zip_type = {"Content-Type": "application/zip"}
    assert running.client.post("/api/collections", content=content, headers=zip_type).status_code == 201
    for header, statuses in (({}, (401, 413)), ({"Authorization": "Bearer wrong"}, (401,))):
        with httpx.Client(base_url=running.url, trust_env=False, verify=False, timeout=SECONDS) as stranger:
            small, large = (
                stranger.post("/api/collections", content=body, headers=zip_type | header)
                for body in (b"x" * 2_000_000, content)
            )
            assert small.status_code in statuses and large.status_code == 401


def test_collections_have_a_size_of_their_own(start):
    running = start(max_collections_mb=1, requests_per_minute=0)
    create(running.client, {"a.bmp": bytes(900_000)})
    running.service.collection_storage._measured_at = -float("inf")
    response = running.client.post("/api/collections", files=form({"b.bmp": bytes(200_000)}))
    assert response.status_code == 507 and "CAPTIONER_MAX_COLLECTIONS_MB" in response.json()["detail"]
    assert running.client.post("/api/captions", files={"image": photo_bytes(1)}).status_code == 201


def test_a_full_disk_is_reported_and_leaves_nothing(running, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("service.store.collections.sync_tree", full)
    response = running.client.post("/api/collections", files=form(PHOTOS))
    assert response.status_code == 507 and "disk is full" in response.json()["detail"]
    assert list(running.service.settings.collections_folder.iterdir()) == []


def test_one_collection_is_one_request_and_one_more_for_each_full_upload(start):
    running = start(requests_per_minute=4, max_upload_mb=1)
    create(running.client)  # five photos, one request
    created = create(running.client, {"large.bmp": bytes(1_200_000)})  # two
    response = running.client.post(f"/api/collections/{created['id']}/photos", files=form({"b.bmp": bytes(1_200_000)}))
    assert response.status_code == 429 and int(response.headers["Retry-After"]) >= 1
    assert running.client.post(f"/api/collections/{created['id']}/photos", files=form(PHOTOS)).status_code == 201
    assert running.client.get(f"/api/collections/{created['id']}").status_code == 200


def test_corrected_captions_become_a_data_set(running):
    client: httpx.Client = running.client
    created = finished(client, create(client))
    url = f"/api/collections/{created['id']}"
    response = client.post(f"{url}/dataset", json={})
    assert response.status_code == 422 and "correct some captions" in response.json()["detail"].lower()
    texts = {2: 'a "big", dog', 3: "two\nlines", 4: "a cat"}
    for number, text in texts.items():
        client.patch(f"{url}/photos/{number}", json={"caption": text, "version": 0})
    response = client.post(f"{url}/dataset", json={}, timeout=SECONDS)
    assert response.status_code == 201, response.text
    document = response.json()
    assert (document["corrected"], document["uncorrected"]) == (3, 0)
    data = document["dataset"]
    assert (data["name"], data["origin"], data["images"], data["captions"]) == ("dogs", "collection", 3, 3)
    assert document["page"] == f"/retrain?dataset={data['id']}"
    assert client.get(response.headers["Location"]).json() == data
    client.delete(url)
    root = running.service.datasets.get(data["id"]).root
    assert (root / "photos" / "2.jpg").read_bytes() == PHOTOS["dogs/2.jpg"], "it outlives the collection"


def test_a_photo_that_cannot_be_read_is_no_training_data(running):
    client = running.client
    created = finished(client, create(client, {"1.jpg": photo_bytes(1), "broken.jpg": b"", "2.jpg": photo_bytes(2)}))
    for number in (1, 2):
        change = {"caption": "a dog", "version": 0}
        client.patch(f"/api/collections/{created['id']}/photos/{number}", json=change).raise_for_status()
    document = client.post(f"/api/collections/{created['id']}/dataset", json={}, timeout=SECONDS).json()
    assert (document["corrected"], document["dataset"]["images"]) == (1, 1)


def test_sure_captions_of_the_captioner_are_added_on_request(running: Running):
    client = running.client
    created = finished(client, create(client))
    url = f"/api/collections/{created['id']}"
    client.patch(f"{url}/photos/2", json={"caption": "a cat", "version": 0})
    with running.service.collections.changing(created["id"]) as (session, _):
        from sqlalchemy import update

        from service.store.tables import CollectionPhotoRow as Row

        for number, confidence in ((1, 0.9), (2, 0.1), (3, 0.4)):
            session.execute(update(Row).where(Row.number == number).values(confidence=confidence))
        session.execute(update(Row).where(Row.number > 3).values(confidence=None))
    document = client.post(f"{url}/dataset", json={"min_confidence": 0.5, "name": "mixed"}, timeout=SECONDS).json()
    assert (document["corrected"], document["uncorrected"], document["dataset"]["name"]) == (1, 1, "mixed")
