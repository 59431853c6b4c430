"""Every route, of the API and otherwise, is public on purpose or requires the token."""

import re

import pytest
from werkzeug.routing import Rule

from service.page import static_version

PUBLIC = {
    ("GET", "/"), ("GET", "/attention"), ("GET", "/retrain"), ("GET", "/static/<version>/<path:name>"),
    ("GET", "/examples"), ("GET", "/examples/<name>"), ("GET", "/metrics"),
    ("GET", "/api/health/live"), ("GET", "/api/health/ready"),
    ("GET", "/openapi/"), ("GET", "/openapi/openapi.json"), ("GET", "/openapi/swagger"),
    ("GET", "/openapi/swagger/<path:filename>"), ("GET", "/openapi/static/<path:filename>"),
    ("GET", "/openapi/oauth2-redirect.html"),
    ("GET", "/api/captions"), ("POST", "/api/captions"), ("GET", "/api/captions/<caption_id:id>"),
    ("GET", "/api/captions/<caption_id:id>/evidence"), ("GET", "/api/captions/<caption_id:id>/figure.png"),
    ("GET", "/api/captions/<caption_id:id>/image"), ("GET", "/api/captions/<caption_id:id>/steps"),
    ("GET", "/api/captions/<caption_id:id>/overlays/<int:number>.png"),
    ("PUT", "/api/captions/<caption_id:id>/correction"), ("DELETE", "/api/captions/<caption_id:id>/correction"),
    ("GET", "/api/models/current"), ("GET", "/api/translators"), ("POST", "/api/translations"),
    ("GET", "/api/translations/matrix.png"), ("GET", "/api/captions/<caption_id:id>/matrix.png"),
    ("GET", "/collections"), ("GET", "/collections/<caption_id:id>"),
    ("POST", "/api/collections"), ("GET", "/api/collections/<caption_id:id>"),
    ("GET", "/api/collections/<caption_id:id>/events"), ("GET", "/api/collections/<caption_id:id>/export"),
    ("POST", "/api/collections/<caption_id:id>/cancel"), ("POST", "/api/collections/<caption_id:id>/caption-again"),
    ("POST", "/api/collections/<caption_id:id>/replace"), ("GET", "/api/collections/<caption_id:id>/photos"),
    ("POST", "/api/collections/<caption_id:id>/photos"), ("PATCH", "/api/collections/<caption_id:id>/photos"),
    ("GET", "/api/collections/<caption_id:id>/photos/<int:number>"),
    ("PATCH", "/api/collections/<caption_id:id>/photos/<int:number>"),
    ("GET", "/api/collections/<caption_id:id>/photos/<int:number>/thumbnail.jpg"),
    ("GET", "/api/collections/<caption_id:id>/photos/<int:number>/words"),
}  # fmt: skip
"""Operations that need no token. A new route is added here or requires the token."""

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
NAMES = {"id": "0" * 32, "version": "0" * 12, "number": 1, "name": "dogs.jpg", "filename": "x", "path": "x"}


def address(rule: Rule) -> str:
    names = NAMES | ({"version": static_version(), "name": "main.js"} if rule.rule.startswith("/static") else {})
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda match: str(names[match[1]]), rule.rule)


@pytest.fixture
def rules(running) -> list[Rule]:
    return list(running.app.url_map.iter_rules())


@pytest.fixture
def stranger(running):
    """A client without the token; with `Authorization` it has a wrong one."""
    del running.client.headers["Authorization"]
    return running.client


def test_every_operation_is_public_on_purpose_or_requires_the_token(rules, stranger):
    operations = set()
    for rule in rules:
        for method in rule.methods - {"OPTIONS", "HEAD"}:
            operations.add((method, rule.rule))
            response = stranger.request(method, address(rule))
            if (method, rule.rule) in PUBLIC:
                assert response.status_code not in (401, 403), (method, rule.rule)
            else:
                assert response.status_code == 401, (method, rule.rule, response.status_code)
                assert response.headers["WWW-Authenticate"] == "Bearer"
    assert operations >= PUBLIC, f"public, but no route: {PUBLIC - operations}"
    assert len(operations - PUBLIC) > 20


def test_no_other_method_gives_access(rules, stranger):
    """Neither methods that a route does not have, nor HEAD, which is answered wherever GET is."""
    routes = {(method, rule.rule) for rule in rules for method in rule.methods}
    for path, example in {rule.rule: address(rule) for rule in rules}.items():
        for method in METHODS:
            status = stranger.request(method, example).status_code
            public = (("GET" if method == "HEAD" else method), path) in PUBLIC
            if public:
                continue
            assert status in ((401,) if (method, path) in routes else (401, 404, 405)), (method, path, status)


def test_the_api_document_lists_exactly_the_existing_routes(rules, stranger):
    document = stranger.get("/openapi/openapi.json").json()
    documented = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    existing = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in rules
        for method in rule.methods - {"OPTIONS", "HEAD"}
        if rule.rule.startswith("/api/")
    }
    assert documented == existing


@pytest.mark.parametrize("path", ["/api/models/current/", "/api//models", "/api/models/", "/API/models"])
def test_no_other_spelling_of_a_path_gives_access(stranger, path):
    assert stranger.get(path).status_code in (308, 401, 404)


def test_a_wrong_token_gives_no_access(rules, stranger):
    for wrong in ("Bearer x", "Basic YTpi", "Bearer", "bearer é".encode()):
        assert stranger.get("/api/trainings", headers={"Authorization": wrong}).status_code == 401
