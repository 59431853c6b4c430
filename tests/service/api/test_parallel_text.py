"""Uploading parallel text: the report, the refusals, and trainings of translators that are refused."""

import json
from types import SimpleNamespace

import pytest

from captioner.bundle.bundle import save_bundle
from tests.support.parallel_texts import OPTIONS, PAIRS, zipped_pairs
from tests.support.photo_sets import photo_set, zipped
from tests.support.translators import save_tiny_translator

ZIP = {"Content-Type": "application/zip"}
MANY = [(f"{english} {number}", f"{german} {number}") for number in range(12) for english, german in PAIRS]
UNIT = '<tu><tuv xml:lang="en"><seg>{}</seg></tuv><tuv xml:lang="de"><seg>{}</seg></tuv></tu>'
TMX = f'<tmx version="1.4"><body>{"".join(UNIT.format(*pair) for pair in MANY)}</body></tmx>'


def upload(client, content, **query):
    query = {"kind": "parallel_text"} | query
    return client.post("/api/datasets", params=query, content=content, headers=ZIP, timeout=60)


def lines(side, pairs=MANY):
    return "".join(f"{pair[side]}\n" for pair in pairs).encode()


def test_an_uploaded_zip_gets_a_report(client):
    response = upload(client, zipped_pairs({"train": [*PAIRS, ("", "Leer.")], "val": PAIRS[:4]}), name="signs")
    assert response.status_code == 201, response.text
    document = response.json()
    assert client.get(response.headers["Location"]).json() == document
    assert (document["name"], document["kind"], document["usable"]) == ("signs", "parallel_text", True)
    assert (document["source"], document["target"], document["pairs"]) == ("en", "de", 12)
    assert (document["images"], document["captions"]) == (0, 0)
    report = document["report"]
    assert report["splits"] == [{"split": "train", "pairs": 8}, {"split": "val", "pairs": 4}]
    assert report["left_out"] == ["left out: 1 x pair with an empty side"]
    assert "8 training pairs are few" in report["advice"][0]
    assert tuple(report["samples"][0].values()) in PAIRS
    (summary,) = client.get("/api/datasets").json()["datasets"]
    assert summary == {name: value for name, value in document.items() if name != "report"}
    assert client.get(f"/api/datasets/{document['id']}/thumbnails/0.jpg").status_code == 404
    assert client.delete(f"/api/datasets/{document['id']}").status_code == 204


@pytest.mark.parametrize(
    "files",
    [
        {"signs/train.en": lines(0), "signs/train.de": lines(1), "__MACOSX/signs/._train.en": b"x"},
        {"text.tsv": b"en\tde\n" + b"".join("\t".join(pair).encode() + b"\n" for pair in MANY)},
        {
            "text.jsonl": "".join(
                json.dumps(dict(zip(("en", "de"), pair, strict=True))) + "\n" for pair in MANY
            ).encode()
        },
        {"text.tmx": TMX.encode()},
        {"train.en": lines(0).decode().encode("utf-16"), "train.de": lines(1).decode().encode("utf-8-sig")},
    ],
    ids=["lines", "tsv", "jsonl", "tmx", "encodings"],
)
def test_every_form_of_parallel_text_is_read(client, files):
    response = upload(client, zipped(files))
    assert response.status_code == 201, response.text
    document = response.json()
    assert (document["source"], document["target"], document["pairs"]) == ("en", "de", len(MANY))
    assert {split["split"] for split in document["report"]["splits"]} == {"train", "val"}


def test_lines_in_another_encoding_are_counted(client):
    files = {"train.en": lines(0), "train.de": lines(1).decode().encode("latin-1")}
    document = upload(client, zipped(files)).json()
    assert document["pairs"] == sum(german.isascii() for _, german in MANY)
    assert "not valid Unicode text: save the file as UTF-8" in document["report"]["left_out"][0]


@pytest.mark.parametrize(
    "content, query, message",
    [
        (zipped({"train.en": lines(0), "train.de": lines(1, MANY[1:])}), {}, "has 96 lines and train.de has 95"),
        (zipped({"train.en": lines(0)}), {}, "holds text in one language, en"),
        (zipped({"train.en": b"", "train.de": b""}), {}, "holds no pair of en and de"),
        (zipped({}), {}, "names no languages"),
        (
            zipped({"train.en": lines(0), "train.de": lines(1), "train.fr": lines(1)}),
            {},
            "in 3 languages, de, en, fr: name two",
        ),
        (zipped({"train.de": lines(0), "train.fr": lines(1)}), {}, "name the language to read as source"),
        (zipped({"train.en": lines(0), "train.de": lines(1)}), {"target": "fr", "source": "en"}, "no parallel text of"),
        (zipped({"train.en": lines(0), "train.de": b"\xff\xd8\xff\xe0"}), {}, "is a JPEG photo"),
        (zipped({"text.tmx": b"<tmx><tu>"}), {}, "cannot be read as TMX"),
        (zipped({"val.en": lines(0), "val.de": lines(1)}), {}, "holds no pairs to train on"),
        (zipped({"train.en": lines(0, PAIRS[:1]), "train.de": lines(1, PAIRS[:1])}), {}, "too few to keep some"),
        (zipped(photo_set(3)), {}, "names no languages"),
        (b"GIF89a", {}, "damaged or truncated"),
        (zipped({"../train.en": b"x"}), {}, "outside its own folder"),
    ],
    ids=[
        "lengths", "one-language", "empty", "no-files", "three-languages", "no-source", "other-language", "photo",
        "cut-tmx", "no-training", "one-pair", "photos", "gif", "slip",
    ],
)  # fmt: skip
def test_an_upload_that_is_no_parallel_text_leaves_no_files(running, content, query, message):
    response = upload(running.client, content, **query)
    assert response.status_code == 422 and message in response.json()["detail"], response.text
    assert "/tmp" not in response.text and ".add-" not in response.text
    assert list(running.service.settings.datasets_folder.iterdir()) == []


@pytest.mark.parametrize(
    "query, message",
    [
        ({"kind": "photos", "source": "en"}, "add kind=parallel_text"),
        ({"source": "en", "target": "en"}, "source and target are both en"),
        ({"source": "-x"}, "source"),
        ({"kind": "poems"}, "kind"),
    ],
)
def test_invalid_languages_are_refused(client, query, message):
    response = upload(client, zipped({}), **query)
    assert response.status_code == 422 and message in response.json()["detail"]


def test_parallel_text_on_the_server_can_be_imported_and_corrections_cannot(start, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "signs.tmx").write_text(TMX)
    client = start(import_root=tmp_path / "texts").client
    query = {"kind": "parallel_text", "target": "de"}
    document = client.post("/api/datasets", params=query, json={"folder": "signs.tmx"}, timeout=60).json()
    assert (document["name"], document["origin"], document["pairs"]) == ("signs.tmx", "folder", len(MANY))
    response = client.post("/api/datasets", params=query, json={"corrections": True})
    assert response.status_code == 422 and "Corrections are captions of photos" in response.json()["detail"]


def test_a_training_on_parallel_text_is_of_a_translator(client):
    data = upload(client, zipped_pairs({"train": PAIRS, "val": PAIRS[:4]})).json()["id"]
    body = {"dataset": data, "options": OPTIONS, "start": "scratch"}
    training = client.post("/api/trainings", json=body, timeout=60).json()
    assert (training["kind"], training["source"], training["target"]) == ("translator", "en", "de")
    assert (training["start"], training["state"], training["samples"]) == ("scratch", "queued", [])
    assert training["options"]["epochs"] == OPTIONS["epochs"]
    assert training["options"]["validation_pairs"] == 200, "the preset's value"
    (brief,) = client.get("/api/trainings").json()["trainings"]
    assert brief == training
    assert client.delete(f"/api/datasets/{data}").status_code == 409


@pytest.fixture
def translators(start, tmp_path):
    """A service with a translator that ships, one in the settings, a version of one, and the captioner's version."""
    folder = save_tiny_translator(tmp_path)
    running = start(translators=f"de-AT={folder},lb={folder}")
    add = running.service.versions.add
    save_bundle(running.service.serving.captioner.bundle, tmp_path / "captioner")
    return SimpleNamespace(
        client=running.client,
        folder=folder,
        version=add(folder, {"name": "signs", "origin": "upload"}).id,
        french=add(save_tiny_translator(tmp_path, "fr"), {"name": "French", "origin": "upload"}).id,
        captioner=add(tmp_path / "captioner", {"name": "captioner", "origin": "upload"}).id,
    )


def begin(client, language="de", status=201, **body):
    data = upload(client, zipped_pairs({"train": PAIRS, "val": PAIRS[:4]}, language)).json()["id"]
    response = client.post("/api/trainings", json={"dataset": data} | body, timeout=60)
    assert response.status_code == status, response.text
    return response.json()


def test_a_translator_starts_from_the_one_in_use_for_its_languages(translators):
    client, pieces = translators.client, len(json.loads((translators.folder / "source.json").read_text())["pieces"])
    shipped = begin(client)
    assert shipped["start"] == "built-in" and shipped["options"]["source_pieces"] > 1000, "the one that ships"
    configured = begin(client, "de_AT")
    assert (configured["start"], configured["target"], configured["options"]["source_pieces"]) == (
        "built-in",
        "de-AT",
        pieces,
    )
    assert begin(client, "nl")["start"] == "scratch", "there is none"
    assert begin(client, "lb")["start"] == "scratch", "the one for this name writes German"
    assert client.post(f"/api/models/{translators.version}/promote").status_code == 200
    promoted = begin(client, "de")
    assert (promoted["start"], promoted["options"]["source_pieces"]) == (translators.version, pieces)


def test_a_translator_starts_from_the_version_that_is_named(translators):
    training = begin(translators.client, start=translators.version)
    assert training["start"] == translators.version and training["options"]["learning_rate"] < 1e-3
    assert begin(translators.client, start="built-in")["start"] == "built-in"
    assert begin(translators.client, start="scratch")["options"]["source_pieces"] == 5000


def test_a_translator_does_not_start_from_another_kind_or_other_languages(translators):
    for start, language, message in (
        (translators.captioner, "de", "is a captioner: name a translator to start from"),
        (translators.french, "de", "translates en into fr, and the data set has en and de"),
        ("built-in", "nl", "There is no built-in translator for the language 'nl'"),
        ("0" * 12, "de", "does not exist"),
    ):
        status = 404 if start == "0" * 12 else 422
        assert message in begin(translators.client, language, status, start=start)["detail"]
    assert translators.client.get("/api/trainings").json()["trainings"] == []


def test_trainings_of_the_wrong_kind_are_refused(client):
    text = upload(client, zipped_pairs({"train": PAIRS, "val": PAIRS[:4]})).json()["id"]
    response = client.post("/api/datasets", content=zipped(photo_set(30)), headers=ZIP, timeout=60)
    photos = response.json()["id"]
    requests = {
        "replay is for captioners": [{"dataset": text, "replay": photos}],
        "--source-pieces 60 contradicts model version built-in, which": [{"dataset": text, "options": OPTIONS}],
        "replay is parallel text": [{"dataset": photos, "replay": text}],
        "unknown option mirror": [{"dataset": text, "options": {"mirror": True}}],
        "epochs must be": [{"dataset": text, "options": {"epochs": 0}}],
    }
    for message, bodies in requests.items():
        for body in bodies:
            response = client.post("/api/trainings", json=body, timeout=60)
            assert response.status_code == 422 and message in response.json()["detail"].lower(), response.text
    assert client.get("/api/trainings").json()["trainings"] == []
