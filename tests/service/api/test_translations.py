"""Translations over HTTP: of texts, of new and stored captions, and pictures of their matrices."""

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image

from captioner import load_translator
from captioner.captioner import Captioner
from captioner.translation.matrix import matrix_figure
from captioner.translation.serialise import translated_caption_json, translation_json
from service.store.captions import Store
from tests.support.pictures import picture_bytes
from tests.support.translators import SCORES, save_tiny_translator

TEXT = "A dog runs over the grass."


@pytest.fixture(autouse=True)
def none_ship(monkeypatch):
    monkeypatch.setattr("service.store.translators.shipped_translators", dict)


@pytest.fixture
def folder(tmp_path):
    return save_tiny_translator(tmp_path)


@pytest.fixture
def running(start, folder):
    return start(translators=f"{folder}, fr={folder}")


@pytest.fixture
def library(folder):
    return load_translator(folder, "cpu")


def post_photo(client: httpx.Client, **query) -> httpx.Response:
    return client.post("/api/captions", params=query, content=picture_bytes(), headers={"Content-Type": "image/jpeg"})


def caption_photo(client: httpx.Client, **query) -> dict:
    response = post_photo(client, **query)
    assert response.status_code == 201, response.text
    return response.json()


def translate(client: httpx.Client, **body) -> httpx.Response:
    return client.post("/api/translations", json=body)


def problem(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    return response.json()["detail"]


def picture(client: httpx.Client, path: str, **query) -> Image.Image:
    response = client.get(path, params=query or None)
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "image/png" and response.headers["Cache-Control"] == "no-store"
    return Image.open(io.BytesIO(response.content))


def test_the_translators_are_listed_with_their_scores(client):
    german, french = client.get("/api/translators").json()["translators"]
    assert german == {
        "language": "de",
        "source": "en",
        "version": "built-in",
        "scores": {"validation": SCORES["validation"]},
        "card": "# A tiny translator\n",
    }
    assert french == german | {"language": "fr"}


def test_a_service_without_translators_says_so(start):
    client = start().client
    assert client.get("/api/translators").json() == {"translators": []}
    assert "no translators" in problem(translate(client, text=TEXT, language="de"), 422)
    assert "no translators" in problem(post_photo(client, language="de"), 422)
    assert client.get("/api/captions").json()["total"] == 0
    assert caption_photo(client)["translation"] is None


def test_a_text_gets_one_translation_and_texts_a_list(client, library):
    expected = translation_json(library.translate([TEXT])[0]) | {"language": "de", "alternatives": []}
    one = translate(client, text=TEXT, language="de")
    assert one.status_code == 200 and one.json() == expected
    several = translate(client, texts=[TEXT, "Two men."], language="de").json()
    assert [each["translation"] for each in several] == [each.text for each in library.translate([TEXT, "Two men."])]
    assert several[0]["source"] == expected["source"] and several[1]["source"] == ["Two", "men", "."]
    assert all(sum(word["weights"]) == pytest.approx(1, abs=0.01) for word in several[1]["words"])


def test_the_best_translations_come_first(client):
    document = translate(client, text=TEXT, language="de", translations=3).json()
    texts = [document["translation"], *(other["translation"] for other in document["alternatives"])]
    assert len(set(texts)) == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "either text"),
        ({"text": TEXT, "texts": [TEXT]}, "either text"),
        ({"texts": []}, "texts"),
        ({"texts": [TEXT] * 33}, "texts"),
        ({"text": TEXT, "translations": 6}, "translations"),
        ({"text": ""}, "no text to translate"),
        ({"text": "\u0000\u0007"}, "no text to translate"),
        ({"text": "dog " * 10_000}, "too long"),
        ({"text": "猫が走る"}, "no letter that this translator knows"),
        ({"texts": [TEXT, ""]}, "Text 2: there is no text to translate"),
        ({"texts": [""]}, "There is no text to translate"),
        ({"text": TEXT, "language": "cs"}, "choose one of de, fr"),
        ({"text": TEXT, "language": ""}, "language"),
        ({"text": TEXT, "beam": 3}, "no such option"),
        ({"text": 3}, "text"),
    ],
)
def test_bad_input_is_refused_with_a_sentence(client, body, message):
    assert message in problem(translate(client, **({"language": "de"} | body)), 422)


def test_a_body_that_is_no_json_is_refused(client):
    json_type = {"Content-Type": "application/json"}
    assert "not JSON" in problem(client.post("/api/translations", content=b"{", headers=json_type), 400)
    assert "expects JSON" in problem(client.post("/api/translations", content=TEXT), 415)


def test_the_matrix_of_a_text_is_drawn(client, library):
    drawn = picture(client, "/api/translations/matrix.png", text=TEXT, language="de")
    expected = matrix_figure(library.translate([TEXT])[0])
    np.testing.assert_array_equal(np.asarray(drawn), np.asarray(expected))
    for query, message in [({"text": ""}, "no text"), ({"text": TEXT, "language": "cs"}, "de, fr"), ({}, "text")]:
        response = client.get("/api/translations/matrix.png", params={"language": "de"} | query)
        assert message in problem(response, 422)


def check_translation(document: dict, ranked: dict, library) -> None:
    translation = ranked["translation"]
    assert translation["language"] == "de"
    assert translation["source"] == [word["text"] for word in ranked["words"]]
    maps = np.array(ranked["alphas"]["maps"])
    for word in translation["words"]:
        assert sum(word["weights"]) == pytest.approx(1, abs=0.01)
        np.testing.assert_allclose(word["map"], np.tensordot(word["weights"], maps, axes=1), atol=1e-4)
    assert translation["translation"] == library.translate([ranked["caption"]])[0].text
    assert translation["matrix"].startswith(f"/api/captions/{document['id']}/matrix.png?language=de")


def test_every_caption_of_a_photo_is_translated(client, library):
    document = caption_photo(client, language="de", captions=2)
    for ranked in (document, *document["alternatives"]):
        check_translation(document, ranked, library)
    plain = client.get(f"/api/captions/{document['id']}").json()
    assert plain["translation"] is None and plain["alternatives"][0]["translation"] is None
    assert client.get(f"/api/captions/{document['id']}", params={"language": "de"}).json() == document


def test_the_translation_equals_the_librarys(client, library, tiny_bundle):
    document = caption_photo(client, language="de")
    (caption,) = Captioner(tiny_bundle, "cpu").caption([picture_bytes()])
    expected = translated_caption_json(caption.translated(library), "de")
    answered = document["translation"]
    assert answered["translation"] == expected["translation"]
    for word, expected_word in zip(answered["words"], expected["words"], strict=True):
        assert word["text"] == expected_word["text"]
        np.testing.assert_allclose(word["weights"], expected_word["weights"], atol=1e-3)
        np.testing.assert_allclose(word["map"], expected_word["map"], atol=1e-3)


def test_the_map_of_a_word_is_the_product_of_both_attentions(running, library, monkeypatch):
    document = caption_photo(running.client)
    shape = np.array(document["alphas"]["maps"]).shape
    drawn = np.random.default_rng(0).dirichlet(np.ones(4) / 4, len(document["words"])).reshape(shape)
    get = Store.get

    def with_drawn_maps(self, caption_id):
        entry = get(self, caption_id)
        entry.arrays["0.alphas"] = drawn.astype(np.float32)
        return entry

    monkeypatch.setattr(Store, "get", with_drawn_maps)
    document = running.client.get(f"/api/captions/{document['id']}?language=de").json()
    check_translation(document, document, library)
    maps = np.array([word["map"] for word in document["translation"]["words"]])
    assert len(maps) > 1 and not np.allclose(maps, maps[::-1], atol=0.01)


def test_the_language_may_be_in_a_form_or_in_json(client, jpeg):
    body = {"image": base64.b64encode(jpeg).decode(), "language": "fr"}
    form = client.post("/api/captions", files={"image": jpeg}, data={"language": "fr"})
    for response in (form, client.post("/api/captions", json=body)):
        assert response.status_code == 201 and response.json()["translation"]["language"] == "fr"
    assert "set it once" in problem(client.post("/api/captions?language=de", json=body), 422)


def test_a_stream_ends_with_the_translated_caption(client, jpeg):
    response = client.post(
        "/api/captions", params={"stream": 1, "language": "de"}, content=jpeg, headers={"Content-Type": "image/jpeg"}
    )
    *_, last = response.text.strip().split("\n\n")
    name, data = last.split("\n")
    assert name == "event: caption"
    document = json.loads(data.removeprefix("data: "))
    assert document == client.get(f"/api/captions/{document['id']}?language=de").json()
    assert document["translation"]["language"] == "de"


def test_an_unknown_language_stores_no_caption(client):
    for query in ({}, {"stream": 1}):
        assert "choose one of de, fr" in problem(post_photo(client, language="cs", **query), 422)
    assert client.get("/api/captions").json()["total"] == 0
    document = caption_photo(client)
    for tail in ("", "/matrix.png"):
        assert "choose one of de, fr" in problem(client.get(f"/api/captions/{document['id']}{tail}?language=cs"), 422)


def test_the_matrix_of_each_stored_caption_is_drawn(client, library):
    document = caption_photo(client, language="de", captions=2)
    for ranked in (document, document["alternatives"][0]):
        drawn = picture(client, ranked["translation"]["matrix"])
        (translation,) = library.translate([ranked["caption"]])
        assert drawn.size[1] == matrix_figure(translation).size[1]
    address = f"/api/captions/{document['id']}/matrix.png"
    assert "Caption 3 does not exist" in problem(client.get(f"{address}?language=de&caption=3"), 404)
    assert "language" in problem(client.get(address), 422)
    assert "does not exist" in problem(client.get(f"/api/captions/{'0' * 32}/matrix.png?language=de"), 404)


def test_a_caption_that_cannot_be_translated_is_still_answered(running, monkeypatch):
    document = caption_photo(running.client)
    get = Store.get

    def foreign(self, caption_id):
        entry = get(self, caption_id)
        for caption in entry.document["captions"]:
            caption["text"] = "猫"
        return entry

    monkeypatch.setattr(Store, "get", foreign)
    address = f"/api/captions/{document['id']}"
    translated = running.client.get(f"{address}?language=de").json()
    assert translated["caption"] == "猫" and translated["translation"] is None
    assert "knows none of its words" in problem(running.client.get(f"{address}/matrix.png?language=de"), 404)


def test_a_broken_translator_limits_the_service_and_nothing_else(running, folder):
    (folder / "model.safetensors").write_bytes(b"broken")
    response = translate(running.client, text=TEXT, language="de")
    assert "tell the service's operator" in problem(response, 503) and response.headers["Retry-After"]
    assert "cannot be used" in problem(post_photo(running.client, language="de"), 503)
    ready = running.client.get("/api/health/ready").json()
    assert ready["status"] == "limited" and {error["where"] for error in ready["errors"]} == {"translator"}
    caption_photo(running.client)


def test_translations_count_as_costly_requests(start, folder):
    client = start(translators=str(folder), requests_per_minute=3).client
    document = caption_photo(client)
    assert translate(client, text=TEXT, language="de").status_code == 200
    assert client.get(f"/api/captions/{document['id']}?language=de").status_code == 200
    assert client.get(f"/api/captions/{document['id']}?language=de").status_code == 429
    assert client.get(f"/api/captions/{document['id']}").status_code == 200
    assert translate(client, text=TEXT, language="de").status_code == 429
    assert client.get("/api/translations/matrix.png", params={"text": TEXT, "language": "de"}).status_code == 429


def test_translations_need_no_room_on_the_disk(start, folder):
    client = start(translators=str(folder), max_home_mb=1).client
    body = json.dumps({"text": TEXT, "language": "de", "translations": 1}) + " " * 2_000_000
    response = client.post("/api/translations", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text
