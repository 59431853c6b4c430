"""The web pages, their scripts and styles, and the example photos."""

import hashlib
import json
from functools import cache
from pathlib import Path

from flask import Blueprint, Response, abort, make_response, render_template, send_from_directory, url_for

from service.api.operations import current_service
from service.bottleneck import read_bottleneck
from service.store.versions import BUILT_IN

_PACKAGE = Path(__file__).parent
WEB = _PACKAGE / "web"
BOTTLENECK = WEB / "bottleneck.json"
"""Figures of the bottleneck, `table.json` of the recipe; the page does without."""
EXAMPLES = folder if (folder := _PACKAGE / "examples").is_dir() else _PACKAGE.parent / "examples"
"""Inside an installed package, where setup.py copies them; next to the package in a checkout."""

# Nothing is loaded from other hosts, and there are no inline scripts or styles. A chosen photo is a blob.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Not from the system's MIME table: browsers refuse scripts of any other type.
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}

page = Blueprint("page", __name__, template_folder="web/templates")


@page.get("/")
def index() -> Response:
    """Return the page, never from a cache, so that it always links the current scripts."""
    return _render_page("index.html")


@page.get("/retrain")
def retrain() -> Response:
    """Return the retraining page, for users with the token."""
    return _render_page("retrain.html")


@page.get("/attention")
def attention() -> Response:
    """Return the page that explains attention with a caption: `?caption=ID&rank=N`, or an example."""
    return _render_page("attention.html", bottleneck=read_bottleneck(BOTTLENECK))


@page.get("/collections")
def collections() -> Response:
    """Return the page that makes collections of photos, and lists them."""
    return _render_page("collections.html")


@page.get("/collections/<caption_id:id>")
def collection(id: str) -> Response:
    """Return the page of one collection; its script asks the API for it."""
    return _render_page("collection.html")


def _render_page(template: str, **values: object) -> Response:
    service = current_service()
    shipped = service.settings.bundle is None and service.serving.version == BUILT_IN
    languages = [facts.language for facts in service.translators.all()]
    html = render_template(
        template, version=static_version(), settings=service.settings, shipped=shipped, languages=languages, **values
    )
    response = make_response(html)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


@page.get("/static/<version>/<path:name>")
def static_file(version: str, name: str) -> Response:
    """Return a script or style. The version is in the path, so relative imports inherit it."""
    if version != static_version():
        abort(404)
    response = send_from_directory(WEB / "static", name, mimetype=_TYPES.get(Path(name).suffix))
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


@page.get("/examples")
def list_examples() -> list[dict[str, str]]:
    """List the example photos: name, url, alt, author and licence. Empty if the folder is missing."""
    return [entry | {"url": url_for("page.example", name=entry["name"])} for entry in examples(EXAMPLES)]


@page.get("/examples/<name>")
def example(name: str) -> Response:
    """Return an example photo; only listed files are served."""
    if name not in {entry["name"] for entry in examples(EXAMPLES)}:
        abort(404)
    response = send_from_directory(EXAMPLES, name)
    response.headers["Cache-Control"] = "public, max-age=86400"
    return response


def examples(folder: Path) -> list[dict[str, str]]:
    """Return the entries of `examples.json` whose files exist; empty without that file."""
    try:
        entries = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return [entry for entry in entries if (folder / entry["name"]).is_file()]


@cache
def static_version() -> str:
    """Return 12 hex digits that change with any file in the static folder."""
    digest = hashlib.sha256()
    folder = WEB / "static"
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
