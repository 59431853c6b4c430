"""Uploading captioned photos: the report, and the refusals."""

import io
import socket

import httpx
import pytest
from PIL import Image

from service.access.auth import admin_token
from tests.support.photo_sets import photo_bytes, photo_set, zipped

ZIP = {"Content-Type": "application/zip"}


def upload(client, files, **query):
    return client.post("/api/datasets", params=query, content=zipped(files), headers=ZIP, timeout=120)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def stored_files(running):
    """Return the contents of the data-set folder."""
    return [path.name for path in running.service.settings.datasets_folder.iterdir()]


def test_an_uploaded_zip_gets_a_report(client):
    files = photo_set(24)
    files["captions.csv"] += b"\n99.jpg,a ghost\n0.jpg,a dog runs on the grass\n,no name\n"
    files |= {"images/copy.jpg": files["images/1.jpg"], "images/alone.jpg": photo_bytes(100), "images/bad.jpg": b"x"}
    files["captions.csv"] += "copy.jpg,a dog on the grass\nbad.jpg,a zebra\n7.JPG,ein Käfer\n".encode()
    files |= {"__MACOSX/images/._0.jpg": b"x", ".DS_Store": b"x", "notes.pdf": b"x"}
    response = upload(client, files, name="my dogs")
    assert response.status_code == 201, response.text
    document = response.json()
    assert client.get(response.headers["Location"]).json() == document
    assert (document["name"], document["origin"], document["usable"]) == ("my dogs", "zip", True)
    report = document["report"]
    assert report["total"]["images"] == 27 and report["format"] == "table" and report["drawn_splits"]
    assert {count["split"] for count in report["splits"]} >= {"train", "val"}
    assert report["unknown_words"]["words"] == 2  # ein, käfer
    assert report["languages"][0][0] == "en"
    assert {"images/1.jpg", "images/copy.jpg"} in [set(same["paths"]) for same in report["same_images"]]
    counts = report["problem_counts"]
    for kind in (
        "missing_image",
        "uncaptioned_image",
        "unreadable_image",
        "repeated_entry",
        "other_case",
        "ignored_file",
    ):
        assert counts[kind] >= 1, kind
    assert any(problem["entry"] for problem in report["problems"])
    assert any("are few" in sentence for sentence in report["advice"])
    assert "root" not in report and "/tmp" not in response.text
    for sample in report["samples"]:
        with Image.open(io.BytesIO(client.get(sample["thumbnail"]).content)) as photo:
            assert max(photo.size) <= 320
    assert client.get(f"/api/datasets/{document['id']}/thumbnails/99.jpg").status_code == 404
    (summary,) = client.get("/api/datasets").json()["datasets"]
    assert summary == {name: value for name, value in document.items() if name != "report"}


def test_a_form_upload_and_a_folder_inside_the_zip_are_accepted(client):
    files = {f"holidays/{name}": content for name, content in photo_set(4).items()}
    response = client.post("/api/datasets", files={"file": ("C:\\x\\Käse 2024.zip", zipped(files))}, timeout=60)
    assert response.status_code == 201 and response.json()["name"] == "Käse 2024"
    assert response.json()["images"] == 4


@pytest.mark.parametrize(
    "encoding, newline", [("utf-8-sig", "\r\n"), ("utf-16", "\r\n"), ("utf-8", "\r")], ids=["bom", "utf16", "cr"]
)
def test_tables_in_encodings_of_other_systems_are_read(client, encoding, newline):
    files = photo_set(6, ("ein Käfer läuft über die Wiese",))
    files["captions.csv"] = files["captions.csv"].decode().replace("\n", newline).encode(encoding)
    report = upload(client, files).json()["report"]
    assert report["total"]["captions"] == 6 and not report["problem_counts"]


def test_a_latin_1_table_is_reported_line_by_line(client):
    files = photo_set(6, ("ein Hund", "ein Käfer"))
    files["captions.csv"] = files["captions.csv"].decode().encode("latin-1")
    report = upload(client, files).json()["report"]
    assert report["total"]["captions"] == 6 and report["problem_counts"] == {"bad_entry": 6}
    assert "UTF-8" in report["problems"][0]["message"] and report["problems"][0]["entry"] == 3


@pytest.mark.parametrize(
    "files, message",
    [
        ({"a.jpg": b"x", "a.txt": b"a dog"}, "Nothing here can be used"),
        ({"a.jpg": photo_bytes(0), "a.txt": b"a dog\na cat"}, "one photo to train on"),
        ({f"{n}.{end}": {"jpg": photo_bytes(0), "txt": b"a dog"}[end] for n in range(9) for end in ("jpg", "txt")},
         "All 9 photos are the same picture"),
    ],
    ids=["nothing", "one", "same"],
)  # fmt: skip
def test_an_unusable_data_set_is_reported_and_not_trained_on(client, files, message):
    document = upload(client, files).json()
    assert document["usable"] is False and message in document["report"]["advice"][0]
    response = client.post("/api/trainings", json={"dataset": document["id"]})
    assert response.status_code == 409 and message in response.json()["detail"]


def test_captions_of_5000_words_are_reported(client):
    report = upload(client, photo_set(6, ("a dog " * 2500,))).json()["report"]
    assert report["words"]["per_caption"]["max"] == 5000
    assert "6 captions have more than 30 words: the rest of each is not learned." in report["advice"]


@pytest.mark.parametrize(
    "content, status, message",
    [
        (b"", 400, "There is no zip in the request"),
        (b"GIF89a", 422, "damaged or truncated"),
        (zipped(photo_set(3))[:-100], 422, "damaged or truncated"),
        (zipped({"../../evil.jpg": b"x"}), 422, "outside its own folder"),
        (
            zipped({"inner.zip": zipped(photo_set(3))}),
            422,
            "no captions in a known format: the folder holds inner.zip",
        ),
        (zipped({"a.jpg": photo_bytes(0)}), 422, "no captions in a known format"),
        (zipped({}), 422, "the folder is empty"),
    ],
    ids=["empty", "gif", "cut", "slip", "nested", "uncaptioned", "no-files"],
)
def test_an_upload_that_is_no_data_set_leaves_no_files(running, content, status, message):
    response = running.client.post("/api/datasets", content=content, headers=ZIP, timeout=60)
    assert response.status_code == status and message in response.json()["detail"], response.text
    assert "/tmp" not in response.text and stored_files(running) == []
    assert not list(running.service.settings.home.rglob("evil*"))


def test_a_data_set_may_be_larger_than_a_photo_but_not_than_its_own_limit(start):
    running = start(max_upload_mb=1, max_dataset_mb=12)
    padding = {"padding.bin": bytes(8_000_000)}
    response = upload(running.client, photo_set(4) | padding)
    assert response.status_code == 201, "eight times the limit of a photo"
    response = upload(running.client, photo_set(4) | {"padding.bin": bytes(14_000_000)})
    assert response.status_code == 413 and "a data set of 12 MB" in response.json()["detail"]
    assert len(stored_files(running)) == 1


def test_requests_without_the_token_are_refused_before_the_body(start):
    running = start(max_upload_mb=1)
    url = httpx.URL(running.url)
    for header in ("", "Authorization: Bearer wrong\r\n"):
        with socket.create_connection((url.host, url.port), timeout=20) as connection:
            head = f"POST /api/datasets HTTP/1.1\r\nHost: localhost\r\n{header}Content-Length: 900000000\r\n\r\n"
            connection.sendall(head.encode())
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 401") and b"www-authenticate: bearer" in answer.lower()


def test_a_full_disk_is_reported_before_the_body(start, monkeypatch):
    running = start()
    monkeypatch.setattr(
        "service.http.connections.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1_000_000})
    )
    url = httpx.URL(running.url)
    token, _ = admin_token(running.service.settings)
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        connection.sendall(
            f"POST /api/datasets HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            "Content-Length: 90000000\r\n\r\n".encode()
        )
        answer = connection.recv(65536)
        answer += connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 507") and b"too little disk space" in answer


def test_a_disk_that_fills_up_during_an_upload_leaves_no_files(running, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("service.store.datasets.DataSetRow", full)
        response = upload(running.client, photo_set(4))
    assert response.status_code == 507 and "disk is full" in response.json()["detail"]
    assert stored_files(running) == []


def test_a_folder_on_the_server_can_be_imported(start, tmp_path):
    root = tmp_path / "sets"
    for name, content in photo_set(5).items():
        path = root / "dogs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "secret").mkdir()
    (root / "out").symlink_to(tmp_path / "secret")
    client = start(import_root=root).client
    document = client.post("/api/datasets", json={"folder": "dogs"}, timeout=60).json()
    assert (document["name"], document["origin"], document["images"]) == ("dogs", "folder", 5)
    for path in ("..", "/etc", "out", "nothing", "dogs/../../secret", "a\0b"):
        response = client.post("/api/datasets", json={"folder": path})
        assert response.status_code == 422 and str(tmp_path) not in response.text
    assert client.delete(f"/api/datasets/{document['id']}").status_code == 204
    assert (root / "dogs" / "captions.csv").is_file()


def test_folders_are_refused_without_an_import_root(client):
    response = client.post("/api/datasets", json={"folder": "x"})
    assert response.status_code == 422 and "CAPTIONER_IMPORT_ROOT" in response.json()["detail"]
    for body in ({}, {"folder": "x", "corrections": True}, {"folders": "x"}):
        assert client.post("/api/datasets", json=body).status_code == 422


def test_corrections_become_a_data_set(client):
    response = client.post("/api/datasets", json={"corrections": True})
    assert response.status_code == 422 and "there are no corrections yet" in response.json()["detail"].lower()
    for number in range(4):
        document = client.post("/api/captions", files={"image": photo_bytes(number)}).json()
        if number:
            client.put(f"/api/captions/{document['id']}/correction", json={"text": f'dog {number}, "Ö"'})
    document = client.post("/api/datasets", json={"corrections": True}, timeout=60).json()
    assert (document["origin"], document["images"], document["captions"]) == ("corrections", 3, 3)
    captions = {caption for sample in document["report"]["samples"] for caption in sample["captions"]}
    assert captions == {f'dog {number}, "Ö"' for number in (1, 2, 3)}


@pytest.mark.parametrize("name", ["thumbnails", "report.json", "data", "-v", "..", "a/../b", "Käse\x00", "x" * 90])
def test_an_uploaded_zip_may_have_any_file_name(running, name):
    response = running.client.post("/api/datasets", files={"file": (f"{name}.zip", zipped(photo_set(3)))}, timeout=60)
    assert response.status_code == 201, response.text
    document = response.json()
    assert document["images"] == 3 and 1 <= len(document["name"]) <= 60
    folder = running.service.settings.datasets_folder / document["id"]
    assert {path.name for path in folder.iterdir()} == {"data", "thumbnails"}


def test_a_data_set_can_be_deleted(running):
    document = upload(running.client, photo_set(4)).json()
    path = f"/api/datasets/{document['id']}"
    assert running.client.delete(path).status_code == 204 and stored_files(running) == []
    assert running.client.get(path).status_code == running.client.delete(path).status_code == 404
