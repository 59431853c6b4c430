"""Any invalid input gets a problem document with the right status, and the next valid request is answered as usual."""

import io
import json
import socket
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image

from captioner.captioner import Captioner
from tests.support.pictures import picture_bytes

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
HEIC_WITHOUT_A_PICTURE = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(400)
HTML = b"<!doctype html><html><script>alert(document.domain)</script></html>"


def png_of_claimed_size(width: int, height: int) -> bytes:
    """Return a few hundred bytes that declare a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


def assert_problem(response: httpx.Response, status: int, *messages: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["type"] == "about:blank" and document["status"] == status and document["title"]
    assert document["detail"][0].isupper() and document["detail"].endswith("."), document["detail"]
    for text in messages:
        assert text in document["detail"], document["detail"]
    assert "Traceback" not in response.text and "site-packages" not in response.text


def assert_well(client: httpx.Client) -> None:
    """Check that a valid photo is captioned as usual."""
    response = client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())})
    assert response.status_code == 201 and response.json()["caption"]


@pytest.fixture
def well(client):
    """A client; after the test, the service must answer as usual."""
    yield client
    assert_well(client)


def post(client, data, kind="image/jpeg", **query):
    return client.post("/api/captions", params=query, content=data, headers={"Content-Type": kind})


PHOTO = picture_bytes()


@pytest.mark.parametrize("query", ["", "?stream=1"])
@pytest.mark.parametrize(
    "data, kind, status, message",
    [
        (b"", "image/jpeg", 400, "empty"),
        (PHOTO[:300], "image/jpeg", 422, "cut short"),
        (PHOTO[:700], "image/jpeg", 422, "cut short"),  # a longer part would be decoded and captioned
        (b"\0" * 4000, "image/jpeg", 415, "not an image"),
        (HTML, "image/jpeg", 415, "not an image"),
        (SVG, "image/svg+xml", 415, "image/svg+xml"),
        (SVG, "image/png", 415, "not an image"),
        (b"%PDF-1.7 ...", "image/jpeg", 415, "not an image"),
        (PHOTO, "text/plain", 415, "text/plain"),
        (PHOTO, "application/x-www-form-urlencoded", 415, "multipart/form-data"),
        (PHOTO, "", 415, "missing"),
        (png_of_claimed_size(60_000, 60_000), "image/png", 413, "at most 100,000,000 pixels"),
        (png_of_claimed_size(20_000, 6_000), "image/png", 413, "120,000,000 pixels"),
        (PHOTO, "multipart/form-data", 400, "no photo"),
        (PHOTO, "multipart/form-data; boundary=x", 400, "no photo"),
        (b"{", "application/json", 400, "JSON"),
        (b"[" * 100_000, "application/json", 400, "JSON"),
        (b"[1]", "application/json", 422, "object"),
        (b"{}", "application/json", 400, "no photo"),
        (b'{"image": 7}', "application/json", 422, "base64"),
        (b'{"image": "!!!"}', "application/json", 422, "base64"),
        (b'{"image": "aGVsbG8="}', "application/json", 415, "not an image"),
        (b'{"image": "https://example.org/photo.jpg"}', "application/json", 422, "base64"),
        (b'{"image": "https://example.org/photo.jpg"}', "application/json", 422, "not fetched"),
        (b'{"image_url": "https://example.org/photo.jpg"}', "application/json", 422, "mage_url is a URL"),
        (b"%PDF-1.7 photo", "image/jpeg", 415, "PDF document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/jpeg", 415, "SVG drawing"),
        (b'{"error": "not found"}', "image/jpeg", 415, "JSON document"),
        (HEIC_WITHOUT_A_PICTURE, "image/heic", 415, "begins like a HEIC photo"),
        (b'{"image": "aGVsbG8=", "beam_width": true}', "application/json", 422, "beam_width"),
        (b'{"image": "aGVsbG8=", "url": "http://example.org"}', "application/json", 422, "url"),
    ],
)
def test_a_body_that_is_no_photo_is_refused(well, data, kind, status, message, query):
    headers = {"Content-Type": kind} if kind else {}
    assert_problem(well.post(f"/api/captions{query}", content=data, headers=headers), status, message)


@pytest.mark.parametrize(
    "query, message",
    [
        ("beam_width=0", "beam_width"),
        ("beam_width=10000", "beam_width"),
        ("beam_width=-3", "beam_width"),
        ("beam_width=five", "beam_width"),
        ("beam_width=2&captions=3", "beam_width"),
        ("captions=0", "captions"),
        ("captions=21", "captions"),
        ("max_words=0", "max_words"),
        ("max_words=51", "max_words"),
        ("max_words=99999999999999999999999", "max_words"),
        ("beem_width=3", "beem_width"),
        ("stream=perhaps", "stream"),
    ],
)
def test_invalid_options_are_refused(well, query, message):
    response = well.post(f"/api/captions?{query}", content=PHOTO, headers={"Content-Type": "image/jpeg"})
    assert_problem(response, 422, message)


@pytest.mark.parametrize(
    "parts, message",
    [
        ({"files": {"image": PHOTO}, "data": {"beam_width": "0"}}, "beam_width"),
        ({"files": {"image": PHOTO}, "data": {"wide": "1"}}, "wide"),
        ({"files": {"image": PHOTO}, "data": {"captions": "2"}, "params": {"captions": "2"}}, "both"),
        ({"files": [("image", PHOTO), ("image", PHOTO)]}, "more than once"),
        ({"files": {"photo": PHOTO}}, "field image"),
        ({"files": {"image": PHOTO, "other": PHOTO}}, "other"),
        ({"files": {"x": b""}, "data": {"image": "text"}}, "image"),
    ],
)
def test_invalid_forms_are_refused(well, parts, message):
    assert_problem(well.post("/api/captions", **parts), 422, message)


def test_a_form_part_without_a_name_is_refused(well):
    for disposition in (b'form-data; filename="a.jpg"', b"form-data"):
        body = b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + PHOTO + b"\r\n--x--\r\n"
        assert_problem(post(well, body, "multipart/form-data; boundary=x"), 422, "no name")


def test_an_empty_file_in_a_form_is_refused(well):
    assert_problem(well.post("/api/captions", files={"image": ("a.jpg", b"")}), 400, "empty")


def test_fifty_megabytes_are_refused(well):
    data = PHOTO + bytes(50_000_000)
    assert_problem(post(well, data), 413, "20 MB")
    assert_problem(well.post("/api/captions", files={"image": ("a.jpg", data)}), 413, "20 MB")


def test_a_file_of_the_largest_size_is_accepted(well):
    assert post(well, PHOTO + bytes(19_000_000)).status_code == 201


def test_the_server_refuses_a_huge_content_length(well):
    """It answers from the header alone, before the body arrives."""
    with socket.create_connection((well.base_url.host, well.base_url.port), timeout=20) as connection:
        connection.sendall(
            b"POST /api/captions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: image/jpeg\r\nContent-Length: 99999999999\r\n\r\n"
        )
        answer = connection.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413") and b"application/problem+json" in answer


def test_photos_of_unusual_modes_and_sizes_are_captioned(client):
    grey = Image.fromarray(np.arange(64 * 48, dtype=np.uint8).reshape(48, 64) % 251)
    odd = {
        "PNG": grey,
        "WEBP": grey.convert("RGBA"),
        "GIF": grey.convert("P"),
        "TIFF": grey.convert("CMYK"),
        "BMP": grey.convert("1"),
    }
    for kind, image in odd.items():
        buffer = io.BytesIO()
        image.save(buffer, kind)
        response = post(client, buffer.getvalue(), "application/octet-stream")
        assert response.status_code == 201, (kind, response.text)
    for size in ((1, 1), (1, 3000), (3000, 1)):
        response = post(client, picture_bytes(*size, kind="PNG"), "image/png")
        assert response.status_code == 201, (size, response.text)
        document = response.json()
        urls = [document["image"]["url"], document["figure"], document["words"][0]["overlay"]]
        urls += [f"{document['image']['url']}?size=16", f"{document['words'][0]['overlay']}?size=16"]
        assert [client.get(url).status_code for url in urls] == [200] * 5


NO_IDS = [
    "0" * 32,
    "0" * 31,
    "F" * 32,
    "..",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "%00",
    "a" * 5000,
    "'%20OR%201=1--",
    "null",
    "%F0%9F%90%B6",
]


@pytest.mark.parametrize("caption_id", NO_IDS)
def test_invalid_ids_are_not_found(well, caption_id):
    url = f"/api/captions/{caption_id}"
    if caption_id != "..":  # a client library resolves it itself
        assert_problem(well.get(url), 404)
    for tail in ("image", "figure.png", "overlays/1.png"):
        assert_problem(well.get(f"{url}/{tail}"), 404)
    assert_problem(well.put(f"{url}/correction", json={"text": "x"}), 404)
    if caption_id != "..":
        assert_problem(well.delete(url), 404)


@pytest.mark.parametrize(
    "path", [b"/static/../../../etc/passwd", b"/examples/../README.md", b"/static/%2e%2e/app.py", b"//etc/passwd"]
)
def test_paths_out_of_the_folder_are_not_found(well, path):
    """Sent as raw bytes: a client library would resolve the dots."""
    with socket.create_connection((well.base_url.host, well.base_url.port), timeout=20) as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 404"), answer[:200]
    assert b"application/problem+json" in answer and b"root:" not in answer


@pytest.mark.parametrize("name", ["../../evil.jpg", "/etc/cron.d/evil", "a\\..\\b.jpg", "nul\0.jpg", "x" * 5000, "con"])
def test_an_uploads_file_name_is_never_used(running, name):
    response = running.client.post("/api/captions", files={"image": (name, PHOTO)})
    assert response.status_code == 201
    home = running.service.settings.home
    stored_files = {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}
    photo = f"photos/{response.json()['id']}.jpg"
    own = ("captioner.db", "queue.db", "admin-token", photo)
    assert photo in stored_files and all(file.startswith(own) for file in stored_files), stored_files


def test_unknown_methods_and_paths_are_problems(well):
    response = well.post("/api/captions/" + "0" * 32)
    assert_problem(response, 405, "POST")
    assert "GET" in response.headers["Allow"]
    assert_problem(well.request("BREW", "/api/captions"), 405)
    assert_problem(well.get("/nothing/here"), 404)


@pytest.mark.parametrize("body, kind, status", [(b"{", "application/json", 400), (b"text=x", "text/plain", 415)])
def test_an_invalid_correction_body_is_refused(well, body, kind, status):
    caption_id = post(well, PHOTO).json()["id"]
    url = f"/api/captions/{caption_id}/correction"
    assert_problem(well.put(url, content=body, headers={"Content-Type": kind}), status)


def test_slow_and_endless_uploads_do_not_block_others(well):
    """A hundred and twenty clients that stop in the middle of their photo: threads serve complete requests only."""
    address = (well.base_url.host, well.base_url.port)
    halves = []
    for _ in range(120):
        connection = socket.create_connection(address, timeout=20)
        connection.sendall(
            b"POST /api/captions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\nhalf"
        )
        halves.append(connection)
    try:
        assert_well(well)
    finally:
        for connection in halves:
            connection.close()


def test_clients_that_leave_before_their_answer_do_no_harm(running):
    address = (running.client.base_url.host, running.client.base_url.port)
    for _ in range(20):
        with socket.create_connection(address, timeout=20) as connection:
            head = f"POST /api/captions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(PHOTO)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: image/jpeg\r\n\r\n" + PHOTO)
    assert_well(running.client)


def test_two_hundred_concurrent_clients_are_captioned_or_asked_to_retry(start):
    """Each gets a caption or 503; none hangs."""
    running = start(queue_size=16, batch_size=4)
    together = threading.Barrier(200)

    def send(_):
        with httpx.Client(base_url=running.url, timeout=60, trust_env=False, verify=False) as client:
            together.wait(60)
            return post(client, PHOTO)

    with ThreadPoolExecutor(200) as pool:
        responses = list(pool.map(send, range(200)))
    statuses = {response.status_code for response in responses}
    assert statuses <= {201, 503} and 201 in statuses, statuses
    for response in responses:
        if response.status_code == 503:
            assert_problem(response, 503)
            assert int(response.headers["Retry-After"]) > 0
    assert_well(running.client)


def test_a_request_past_its_deadline_gets_503(start, tiny_bundle):
    class Held(Captioner):
        """Its forward passes wait for `go`."""

        go = threading.Event()

        def encode(self, pixels):
            assert Held.go.wait(20)
            return super().encode(pixels)

    Held.go.set()
    running = start(Held(tiny_bundle, "cpu"), deadline_seconds=1)
    Held.go.clear()
    response = post(running.client, PHOTO)
    assert_problem(response, 503, "in time")
    assert int(response.headers["Retry-After"]) > 0
    streamed = post(running.client, PHOTO, stream=1)
    problem = json.loads(streamed.text.partition("event: problem\ndata: ")[2])
    assert problem["status"] == 503 and problem["retry_after"] > 0
    Held.go.set()
    assert_well(running.client)
    stored_ids = {entry["id"] for entry in running.client.get("/api/captions").json()["captions"]}
    files = {path.stem for path in running.service.settings.photos_folder.rglob("*.jpg")}
    assert files == stored_ids, "an abandoned request leaves no photo"
