"""Captioners over HTTP: described, uploaded, downloaded, deleted."""

from pathlib import Path

import pytest

from captioner.bundle.bundle import save_bundle
from captioner.captioner import Captioner
from captioner.translation.bundle import load_translator_bundle
from service.store.fingerprint import model_version
from tests.support.translators import save_tiny_translator
from tests.support.zips import zip_of


def test_the_current_captioner_is_described(client, tiny_bundle):
    document = client.get("/api/models/current").json()
    assert document == {
        "version": model_version(tiny_bundle),
        "name": "default",
        "encoder": tiny_bundle.config.encoder,
        "image_size": 64,
        "fit": "crop",
        "attention": "soft",
        "grid": [2, 2],
        "words": 14,
        "decoding": tiny_bundle.decoding.to_json(),
        "scores": {},
        "card": "# A card, naïve\n",
        "device": "cpu",
    }


def test_captions_name_the_version_of_their_captioner(start, make_bundle, tiny_bundle, jpeg):
    versions = []
    for bundle in (tiny_bundle, make_bundle(seed=1), make_bundle(seed=1)):
        client = start(Captioner(bundle, "cpu")).client
        document = client.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}).json()
        assert document["model"]["version"] == client.get("/api/models/current").json()["version"]
        versions.append(document["model"]["version"])
    assert versions[0] != versions[1] == versions[2]


@pytest.fixture
def other(make_bundle, tmp_path) -> Path:
    save_bundle(make_bundle(seed=5), tmp_path / "other")
    return tmp_path / "other"


ZIP = {"Content-Type": "application/zip"}


def test_a_captioner_can_be_downloaded_from_one_service_and_uploaded_to_another(client, start, other, tmp_path):
    response = client.post("/api/models?name=my%20dogs", content=zip_of(other), headers=ZIP)
    assert response.status_code == 201
    document = response.json()
    assert (document["name"], document["origin"], document["current"]) == ("my dogs", "upload", False)
    assert response.headers["Location"] == f"/api/models/{document['version']}"
    assert client.get(response.headers["Location"]).json() == document
    models = client.get("/api/models").json()["models"]
    assert [(model["version"], model["current"]) for model in models] == [
        (document["version"], False),
        ("built-in", True),
    ]

    downloaded = client.get(f"/api/models/{document['version']}/bundle.zip")
    assert "attachment" in downloaded.headers["Content-Disposition"]
    second = start(home=tmp_path / "elsewhere").client
    second_upload = second.post("/api/models", files={"file": ("dogs.zip", downloaded.content)}).json()
    assert second_upload["version"] == document["version"] and second_upload["name"] == "dogs"
    assert not list((tmp_path / "elsewhere").glob("tmp*"))


def test_a_zip_may_hold_the_captioner_in_a_folder(client, other, tmp_path):
    (tmp_path / "nested" / "deep").mkdir(parents=True)
    other.rename(tmp_path / "nested" / "deep" / "bundle")
    assert client.post("/api/models", content=zip_of(tmp_path / "nested"), headers=ZIP).status_code == 201


@pytest.mark.parametrize(
    "content, status, message",
    [
        (b"", 400, "no zip in the request"),
        (b"x" * 1000, 422, "damaged"),
        (None, 422, "is missing"),
    ],
)
def test_an_upload_that_is_no_captioner_is_refused(client, tmp_path, content, status, message):
    if content is None:
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "config.json").write_text("{}")
        content = zip_of(tmp_path / "x")
    response = client.post("/api/models", content=content, headers=ZIP)
    assert response.status_code == status and message in response.json()["detail"]
    assert client.post("/api/models", content=b"x", headers={"Content-Type": "text/plain"}).status_code == 415
    assert [model["version"] for model in client.get("/api/models").json()["models"]] == ["built-in"]


def test_a_version_can_be_deleted_unless_it_is_current(client, other):
    version = client.post("/api/models", content=zip_of(other), headers=ZIP).json()["version"]
    client.post(f"/api/models/{version}/promote")
    response = client.delete(f"/api/models/{version}")
    assert response.status_code == 409 and "in use" in response.json()["detail"]
    assert client.delete("/api/models/built-in").status_code == 409
    client.post("/api/models/rollback")
    assert client.delete(f"/api/models/{version}").status_code == 204
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/promote"),
        ("GET", "/bundle.zip"),
        ("GET", "/comparison"),
    ):
        assert client.request(method, f"/api/models/{version}{path}").status_code == 404
    assert client.post("/api/models/rollback").status_code == 409


def test_uploaded_versions_have_no_comparison(client, other):
    version = client.post("/api/models", content=zip_of(other), headers=ZIP).json()["version"]
    for path in (f"{version}/comparison", "built-in/comparison", f"{version}/comparison/0.jpg"):
        response = client.get(f"/api/models/{path}")
        assert response.status_code == 404
    assert "has no comparison" in client.get(f"/api/models/{version}/comparison").json()["detail"]


def test_a_translator_can_be_uploaded_promoted_rolled_back_and_downloaded(client, tmp_path):
    folder = save_tiny_translator(tmp_path, "lb")
    document = client.post("/api/models?name=signs", content=zip_of(folder), headers=ZIP).json()
    assert (document["kind"], document["source"], document["language"]) == ("translator", "en", "lb")
    assert (document["current"], document["card"]) == (False, "# A tiny translator\n")
    assert document["words"] == len(load_translator_bundle(folder).target)
    url = f"/api/models/{document['version']}"
    assert [model["kind"] for model in client.get("/api/models").json()["models"]] == ["translator", "captioner"]
    assert client.post("/api/translations", json={"text": "A dog runs.", "language": "lb"}).status_code == 422

    assert client.post(f"{url}/promote").json()["current"] is True
    (facts,) = (each for each in client.get("/api/translators").json()["translators"] if each["language"] == "lb")
    assert facts["version"] == document["version"]
    assert client.post("/api/translations", json={"text": "A dog runs.", "language": "lb"}).status_code == 200
    response = client.delete(url)
    assert response.status_code == 409 and "in use" in response.json()["detail"]
    assert client.post("/api/models/rollback").status_code == 409, "the captioner was not changed"
    assert client.get("/api/models/current").json()["version"] != document["version"]

    downloaded = client.get(f"{url}/bundle.zip")
    assert f"translator-{document['version']}.zip" in downloaded.headers["Content-Disposition"]
    assert client.post("/api/models", content=downloaded.content, headers=ZIP).json()["version"] == document["version"]
    response = client.get(f"{url}/comparison")
    assert response.status_code == 404 and "has no comparison" in response.json()["detail"]

    assert client.post("/api/models/rollback", params={"language": "lb"}).status_code == 204
    response = client.post("/api/models/rollback", params={"language": "lb"})
    assert response.status_code == 422 and "no translator for the language 'lb'" in response.json()["detail"]
    assert client.delete(url).status_code == 204


@pytest.mark.parametrize("name", ["source.json", "config.json", "model.safetensors"])
def test_a_broken_translator_is_refused(client, tmp_path, name):
    folder = save_tiny_translator(tmp_path, "lb")
    (folder / name).write_text("{}")
    response = client.post("/api/models", content=zip_of(folder), headers=ZIP)
    assert response.status_code == 422 and name in response.json()["detail"], response.text
    assert [model["version"] for model in client.get("/api/models").json()["models"]] == ["built-in"]
