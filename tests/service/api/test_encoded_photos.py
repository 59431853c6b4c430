"""A photo in JSON is accepted in each form of base64 that tools write, and in no other."""

import base64
import random

import pytest

from service.api.encoded_photos import photo_bytes
from service.errors import Problem

FILES = [bytes(range(256)) * 3 + bytes(extra) for extra in range(4)] + [b"\xff\xfb\xef\xbe", b"a"]


def forms(data: bytes) -> dict[str, str]:
    encoded = base64.b64encode(data).decode()
    url = base64.urlsafe_b64encode(data).decode()
    return {
        "plain": encoded,
        "lines": base64.encodebytes(data).decode(),
        "lines of Windows": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "blanks around": f"\n  {encoded}\t\n",
        "without padding": encoded.rstrip("="),
        "alphabet for URLs": url,
        "alphabet for URLs without padding": url.rstrip("="),
        "data URL": f"data:image/jpeg;base64,{encoded}",
        "data URL in capitals": f"DATA:image/heic;BASE64,{encoded}",
        "data URL with a name": f"data:image/png;name=a.png;base64,{encoded}",
        "data URL without a type": f"data:;base64,{encoded}",
        "data URL with lines": f"data:image/jpeg;base64,\n{base64.encodebytes(data).decode()}",
        "data URL with a blank": f" data:image/jpeg; base64, {encoded}",
        "data URL with a comma in a name": f"data:image/png;name=a,b.png;base64,{encoded}",
        "quoted twice": f'"{encoded}"',
        "line breaks that were escaped twice": base64.encodebytes(data).decode().replace("\n", "\\r\\n"),
        "mark of the byte order": f"\ufeff{encoded}",
        "blanks of other kinds": f"\u00a0{encoded[:4]}\u200b{encoded[4:]}",
        "data URL in percent signs": f"data:image/jpeg;base64,{encoded.replace('+', '%2B').replace('=', '%3D')}",
    }


@pytest.mark.parametrize("form", forms(b""))
def test_base64_is_accepted_in_the_forms_that_tools_write(form):
    for data in FILES:
        assert photo_bytes(forms(data)[form]) == data


@pytest.mark.parametrize(
    "text",
    [
        "!!!", "ab$d", "a", "abcde", "abc==", "ab===", "====abcd", "ab=c", "ab==cd==", "+_ab", "-/ab", "ü" * 4,
        "abcd\0", "b'/9j/4AAQ'", "data:image/jpeg;base64,ab$d", "{}",
    ],
)  # fmt: skip
def test_invalid_base64_is_refused_in_one_sentence(text):
    with pytest.raises(Problem, match="image is not base64 .*: encode the bytes") as error:
        photo_bytes(text)
    assert error.value.document.status == 422 and error.value.document.detail.endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "https://example.org/cat.jpg", "http://localhost/cat", "HTTPS://EXAMPLE.ORG", "ftp://example.org/cat.jpg",
        "file:///home/me/cat.jpg", "file:/home/me/cat.jpg", "s3://bucket/cat.jpg", "//example.org/cat.jpg",
        "www.example.org/cat.jpg", "  https://example.org/cat\n", "blob:https://example.org/1",
        '"https://example.org/cat.jpg"', "<https://example.org/cat.jpg>",
        "https://example.org/abcd" + "a" * 5000,
    ],
)  # fmt: skip
def test_a_url_is_refused_and_not_fetched(text):
    with pytest.raises(Problem, match="image is a URL, and URLs are not fetched: download the photo") as error:
        photo_bytes(text)
    assert error.value.document.status == 422


@pytest.mark.parametrize("text", ["cat.jpg", "/home/me/cat.jpg", "C:\\photos\\IMG 1.HEIC", "./a/b.png", "../cat.webp"])
def test_a_file_name_is_refused_and_not_read(text):
    with pytest.raises(Problem, match="image is a file name"):
        photo_bytes(text)


@pytest.mark.parametrize("text", ["data:image/svg+xml,%3Csvg/%3E", "data:image/jpeg", "data:base64,abcd", "data:,"])
def test_a_data_url_without_base64_is_refused(text):
    with pytest.raises(Problem, match="data: URL, but not in base64"):
        photo_bytes(text)


def test_base64_that_looks_like_a_path_is_decoded():
    rng = random.Random(0)
    for _ in range(2000):
        data = rng.randbytes(rng.randrange(1, 60))
        for text in forms(data).values():
            assert photo_bytes(text) == data


@pytest.mark.parametrize(
    "values",
    [
        {"url": "https://example.org/a"}, {"image_url": {"url": "https://example.org/a", "detail": "low"}},
        {"image": {"url": "https://example.org/a"}}, {"image": "", "src": "a"}, {"image": None, "href": "a"},
    ],
)  # fmt: skip
def test_an_image_url_in_any_field_is_refused(client, values):
    answer = client.post("/api/captions", json=values)
    assert answer.status_code == 422 and "URLs are not fetched" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["data", "photo", "images", "image_base64", "instances"])
def test_a_wrong_field_name_is_named_with_the_right_one(client, name):
    answer = client.post("/api/captions", json={name: "/9j/"})
    assert answer.status_code == 422 and f"no field image, only {name}" in answer.json()["detail"]
