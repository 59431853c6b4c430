"""Captions of a collection over HTTP: listed, edited by several people, searched and replaced in, deleted."""

import httpx
import pytest
from sqlalchemy import event

from service.store.collection_photos import MAX_CAPTION
from service.store.collection_records import PhotoResult
from tests.support.collections import make_collection
from tests.support.photo_sets import photo_bytes

TEXTS = ("tab\there", "two\nlines\r\nthree", 'comma, "quote"', "كلب يركض", "naïve 🐕‍🦺", "=1+1", "<b>&amp;")
CAPTIONS = ("a dog", "a cat", "a dog and a dog", "two dogs", "a Dog on grass")
CONFIDENCES = (0.9, 0.2, None, 0.2, 0.51)


@pytest.fixture
def url(running) -> str:
    """The URL of a collection of five captioned photos."""
    service = running.service
    service.collecting.close()
    collection = make_collection(service.collections, {f"{n}.jpg": photo_bytes(n) for n in range(1, 6)})
    results = [
        PhotoResult(number, generated=caption, confidence=confidence)
        for number, (caption, confidence) in enumerate(zip(CAPTIONS, CONFIDENCES, strict=True), 1)
    ]
    service.collection_photos.record(collection.id, results)
    return f"/api/collections/{collection.id}"


def correct(client: httpx.Client, url: str, number: int, caption: str | None, version: int) -> httpx.Response:
    return client.patch(f"{url}/photos/{number}", json={"caption": caption, "version": version})


def numbers(client, url, **query) -> list[int]:
    return [photo["number"] for photo in client.get(f"{url}/photos", params=query).json()["photos"]]


def captions(client, url) -> list[str]:
    return [photo["caption"] for photo in client.get(f"{url}/photos").json()["photos"]]


def test_photos_are_listed_in_pages_least_sure_first(client, url):
    listed, cursor = [], {}
    while True:
        page = client.get(f"{url}/photos", params={"sort": "confidence", "limit": 2, **cursor}).json()
        listed += [(photo["number"], photo["wording"]) for photo in page["photos"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert listed == [(2, "guess"), (4, "guess"), (5, "likely"), (1, "sure"), (3, None)]
    first = client.get(f"{url}/photos", params={"limit": 3}).json()
    assert numbers(client, url, cursor=first["next"]) == [4, 5]


@pytest.mark.parametrize(
    "query", [{"cursor": "1", "sort": "confidence"}, {"cursor": "0.5~1"}, {"cursor": "x"}, {"limit": 0}, {"state": "x"}]
)
def test_a_cursor_of_another_order_and_unknown_options_are_refused(client, url, query):
    assert client.get(f"{url}/photos", params=query).status_code == 422


def test_photos_are_searched_and_filtered(client, url):
    correct(client, url, 2, "a puppy", 0)
    assert numbers(client, url, search="DOG grass") == [5] and numbers(client, url, search="pup") == [2]
    assert numbers(client, url, corrected="true") == [2] and numbers(client, url, corrected="false") == [1, 3, 4, 5]
    assert numbers(client, url, state="failed") == []


def test_captions_of_all_kinds_come_back_unchanged(client, url):
    for version, text in enumerate(TEXTS):
        response = correct(client, url, 1, text, version)
        assert response.status_code == 200, response.text
        document = client.get(f"{url}/photos/1").json()
        assert document == response.json()
        assert (document["caption"], document["generated"], document["corrected"]) == (text, "a dog", True)
    assert correct(client, url, 1, " \x01a\0 b\x07 ", len(TEXTS)).json()["caption"] == "a b", "no control characters"


def test_the_second_of_two_people_gets_409_with_what_is_stored(client, url):
    assert correct(client, url, 1, "first", 0).json()["version"] == 1
    response = correct(client, url, 1, "second", 0)
    assert response.status_code == 409 and response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["present"] == {"caption": "first", "version": 1}
    assert "someone else" in response.json()["detail"]
    assert correct(client, url, 1, "second", 1).json()["caption"] == "second"
    assert correct(client, url, 1, "second", 0).status_code == 200, "it is stored already"


def test_a_correction_can_be_taken_back(client, url):
    correct(client, url, 1, "first", 0)
    document = correct(client, url, 1, None, 1).json()
    assert (document["caption"], document["corrected"], document["corrected_at"]) == ("a dog", False, None)


@pytest.mark.parametrize(
    "body",
    [{"caption": "", "version": 0}, {"caption": " ", "version": 0}, {"caption": "x"}, {"version": 0},
     {"caption": "x" * (MAX_CAPTION + 1), "version": 0}, {"caption": "x", "version": -1}, {"caption": 1, "version": 0}],
)  # fmt: skip
def test_a_caption_that_is_none_is_refused(client, url, body):
    assert client.patch(f"{url}/photos/1", json=body).status_code == 422
    assert captions(client, url)[0] == "a dog"


def test_several_captions_are_stored_and_those_of_others_are_kept(client, url):
    correct(client, url, 2, "mine", 0)
    changes = [{"number": n, "caption": f"new {n}", "version": 0} for n in (1, 2)]
    document = client.patch(f"{url}/photos", json={"captions": changes}).json()
    assert [photo["number"] for photo in document["changed"]] == [1]
    assert [(photo["number"], photo["caption"]) for photo in document["refused"]] == [(2, "mine")]
    twice = client.patch(f"{url}/photos", json={"captions": [changes[0], changes[0]]})
    assert twice.status_code == 422 and "twice" in twice.json()["detail"]
    missing = client.patch(f"{url}/photos", json={"captions": [{"number": 99, "caption": "x", "version": 0}]})
    assert missing.status_code == 404 and "photo 99" in missing.json()["detail"].lower()


def test_a_full_disk_is_reported_and_the_captions_stay(running, url):
    def fill(connection):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # no less than there are: the file cannot grow

    event.listen(running.service.database._engine, "begin", fill)
    changes = [{"number": number, "caption": str(number) * MAX_CAPTION, "version": 0} for number in range(1, 6)]
    response = running.client.patch(f"{url}/photos", json={"captions": changes})
    assert response.status_code == 507 and "disk is full" in response.json()["detail"], response.text
    assert captions(running.client, url) == list(CAPTIONS)


def test_a_preview_tells_what_a_replacement_changes_and_changes_nothing(client, url):
    body = {"search": "dog", "replacement": "wolf", "whole_words": True}
    preview = client.post(f"{url}/replace", json=body | {"preview": True}).json()
    assert preview["preview"] and preview["changed"] == 3
    assert [(caption["number"], caption["before"], caption["after"]) for caption in preview["captions"]] == [
        (1, "a dog", "a wolf"), (3, "a dog and a dog", "a wolf and a wolf"), (5, "a Dog on grass", "a wolf on grass"),
    ]  # fmt: skip
    assert captions(client, url) == list(CAPTIONS)
    done = client.post(f"{url}/replace", json=body | {"photos": [1, 2, 5]}).json()
    assert not done["preview"] and done["changed"] == 2
    assert captions(client, url) == ["a wolf", "a cat", "a dog and a dog", "two dogs", "a wolf on grass"]
    undo = [{"number": c["number"], "caption": c["before"], "version": c["version"]} for c in done["captions"]]
    assert client.patch(f"{url}/photos", json={"captions": undo}).json()["refused"] == []
    assert captions(client, url) == list(CAPTIONS)


def test_a_pattern_replaces_with_its_groups(client, url):
    body = {"search": r"^a (\w+)$", "replacement": r"one \1", "regular_expression": True}
    assert client.post(f"{url}/replace", json=body).json()["changed"] == 2
    assert captions(client, url)[:2] == ["one dog", "one cat"]


def test_captions_that_a_replacement_would_empty_stay(client, url):
    document = client.post(f"{url}/replace", json={"search": "a dog"}).json()
    assert document["changed"] == 2
    assert [caption["problem"] for caption in document["captions"]] == ["The caption would be empty.", None, None]
    assert captions(client, url)[0] == "a dog"


@pytest.mark.parametrize(
    "body, message",
    [
        ({"search": "(", "regular_expression": True}, "not a regular expression"),
        ({"search": "a", "replacement": r"\3", "regular_expression": True}, "name groups"),
        ({"search": ""}, "search"),
        ({"search": "a", "prevew": True}, "there is no such option"),
    ],
)
def test_a_replacement_that_cannot_work_is_explained(client, url, body, message):
    response = client.post(f"{url}/replace", json=body)
    assert response.status_code == 422 and message in response.json()["detail"]


def test_a_catastrophic_pattern_is_given_up_while_others_are_answered(client, url, monkeypatch):
    monkeypatch.setattr("service.store.replacing.SECONDS", 0.05)
    correct(client, url, 1, "a" * 500 + "!", 0)
    response = client.post(f"{url}/replace", json={"search": "(a|aa)+b", "regular_expression": True})
    assert response.status_code == 422 and "processor time" in response.json()["detail"]


def test_photos_are_deleted(client, url):
    document = client.delete(f"{url}/photos", params={"number": [1, 3, 99]}).json()
    assert document["photos"] == 3 and numbers(client, url) == [2, 4, 5]
    assert client.get(f"{url}/photos/1").status_code == client.get(f"{url}/photos/0").status_code == 404
    assert client.get(f"{url}/photos/{10**30}").status_code == 422, "no number of a photo"
    assert client.delete(f"{url}/photos").status_code == 422
