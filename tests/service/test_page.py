"""The page, its static files and the examples are served completely and safely."""

import json
import re
from pathlib import Path

import pytest

from captioner.images.photo import open_image
from service.page import EXAMPLES, WEB, examples, static_version
from tests.support.translators import save_tiny_translator

PARTS = [path.relative_to(WEB / "static").as_posix() for path in sorted((WEB / "static").rglob("*")) if path.is_file()]


def directives(policy: str) -> dict[str, str]:
    return dict(directive.strip().split(" ", 1) for directive in policy.split(";"))


PAGES = pytest.mark.parametrize("path", ["/", "/attention", "/retrain", "/collections", f"/collections/{'0' * 32}"])


@PAGES
def test_the_page_allows_only_its_own_content(client, path):
    response = client.get(path)
    assert response.status_code == 200 and response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert directives(response.headers["Content-Security-Policy"]) == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-cache"


@PAGES
def test_the_page_has_no_inline_code_and_no_other_hosts(client, path):
    html = client.get(path).text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=", html)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert addresses and all(address.startswith(("/", "#")) and not address.startswith("//") for address in addresses)


def test_the_page_knows_the_upload_limit(start):
    assert 'data-max-upload-mb="7"' in start(max_upload_mb=7).client.get("/").text


def test_the_page_describes_the_shipped_captioner_only(start, tmp_path):
    shipped = "7,700 photos, most of them of people, dogs"
    assert shipped in start().client.get("/").text
    assert shipped not in start(bundle=tmp_path).client.get("/").text


def test_the_page_offers_the_languages_of_the_translators(start, tmp_path, monkeypatch):
    monkeypatch.setattr("service.store.translators.shipped_translators", dict)
    folder = save_tiny_translator(tmp_path)
    html = start(translators=f"fr={folder},{folder}").client.get("/").text
    assert re.findall(r'<option value="(\w*)">', html) == ["", "de", "fr"] and "<dt>Translation</dt>" in html
    html = start().client.get("/").text
    assert re.findall(r'<option value="(\w*)">', html) == [""] and "<dt>Translation</dt>" not in html


@PAGES
def test_every_file_linked_by_the_page_exists(client, path):
    addresses = set(re.findall(r'(?:src|href)="(/static/[^"]*)"', client.get(path).text))
    assert len(addresses) >= 6
    for address in addresses:
        assert client.get(address).status_code == 200, address


@pytest.mark.parametrize("name", PARTS)
def test_static_files_are_cached_forever_under_their_version(client, name):
    response = client.get(f"/static/{static_version()}/{name}")
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    assert response.status_code == 200
    assert response.headers["Content-Type"].split(";")[0] == kinds[Path(name).suffix]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_scripts_import_each_other_by_existing_relative_names():
    for name in PARTS:
        if name.endswith(".js"):
            for imported in re.findall(r'from "([^"]+)"', (WEB / "static" / name).read_text(encoding="utf-8")):
                assert imported.startswith("./") and imported[2:] in PARTS, f"{name} imports {imported}"


@pytest.mark.parametrize(
    "path", ["0" * 12 + "/main.js", "VERSION/none.js", "VERSION/../templates/index.html", "VERSION/%2e%2e/index.html"]
)
def test_no_other_path_under_static_is_served(client, path):
    response = client.get("/static/" + path.replace("VERSION", static_version()))
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


def test_every_example_is_listed_and_served(client):
    entries = client.get("/examples").json()
    assert {entry["name"] for entry in entries} == {path.name for path in EXAMPLES.glob("*.jpg")}
    for entry in entries:
        assert set(entry) == {"name", "url", "alt", "author", "licence"} and all(entry.values())
        assert entry["url"] == f"/examples/{entry['name']}"
        response = client.get(entry["url"])
        assert response.headers["Content-Type"] == "image/jpeg"
        assert max(open_image(response.content).size) <= 640


@pytest.mark.parametrize("name", ["README.md", "examples.json", "none.jpg", "..%2FREADME.md", "figures/coffee.jpg"])
def test_only_the_photos_of_the_examples_folder_are_served(client, name):
    assert client.get(f"/examples/{name}").status_code == 404


def test_authors_and_licences_equal_those_in_the_folders_readme():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    rows = {row.split("`")[1]: row for row in readme.splitlines() if row.startswith("| `")}
    for entry in examples(EXAMPLES):
        assert entry["author"] in rows[entry["name"]] and entry["licence"] in rows[entry["name"]]


def test_missing_examples_are_not_listed(tmp_path):
    assert examples(tmp_path / "none") == []
    (tmp_path / "examples.json").write_text(json.dumps([{"name": "gone.jpg"}, {"name": "here.jpg"}]))
    (tmp_path / "here.jpg").touch()
    assert [entry["name"] for entry in examples(tmp_path)] == ["here.jpg"]
