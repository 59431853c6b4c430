"""Hosts and origins on the whole app: other sites are refused, even if their name points here."""

import logging
import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import run_wsgi_app

from captioner.captioner import Captioner
from service.app import create_app
from service.settings import Settings
from tests.service.access.test_access import address
from tests.support.pictures import picture_bytes

JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def make_app(tiny_bundle, tmp_path) -> Iterator[Callable[..., Flask]]:
    apps = []

    def make(**settings) -> Flask:
        apps.append(create_app(Settings(home=tmp_path / "home", **settings), Captioner(tiny_bundle, "cpu")))
        return apps[-1]

    yield make
    for app in apps:
        app.extensions["captioner"].close()


@pytest.fixture
def client(make_app) -> FlaskClient:
    return make_app().test_client()


def send(client: FlaskClient, **headers: str):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post("/api/captions", data=picture_bytes(), headers=JPEG | names)


def test_no_route_answers_under_the_name_of_another_site(client):
    """Otherwise a page of a site whose name points to 127.0.0.1 could read all captions."""
    for rule in client.application.url_map.iter_rules():
        for method in rule.methods:
            response = client.open(address(rule), method=method, headers={"Host": "evil.example:8000"})
            assert response.status_code == 400, (method, rule.rule)
            assert response.mimetype == "application/problem+json"
    for path in ("/nothing/here", "/api/captions/", "//api/captions", "/static/x/../y", "/examples/dogs.jpg"):
        response = client.get(path, headers={"Host": "evil.example"})
        assert response.status_code == 400 and "evil.example" in response.json["detail"]
    assert "add the name to CAPTIONER_TRUSTED_HOSTS" in response.json["detail"]
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_a_request_refused_for_its_host_has_no_effect_and_does_not_count(make_app):
    client = make_app(requests_per_minute=1).test_client()
    assert [send(client, Host="evil.example").status_code for _ in range(3)] == [400] * 3
    assert client.get("/api/captions").json["total"] == 0
    assert send(client).status_code == 201


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "10.0.0.7:8000"])
def test_own_names_and_addresses_are_answered(client, host):
    """Also those of pods and machines: no other site can take over an IP address."""
    assert client.get("/api/health/live", headers={"Host": host}).status_code == 200
    assert send(client, Host=host, Origin=f"http://{host.lower()}", Sec_Fetch_Site="same-origin").status_code == 201


def test_a_request_without_a_host_is_answered(client):
    """HTTP/1.0, as used by some proxies for health checks; no browser uses it."""
    environment = client.application.test_request_context("/api/health/live").request.environ
    del environment["HTTP_HOST"]
    _, status, _ = run_wsgi_app(client.application, environment)
    assert status == "200 OK"


def test_trusted_host_names_are_answered_and_their_pages_may_make_changes(make_app, caplog):
    caplog.set_level(logging.INFO)
    client = make_app(trusted_hosts="captions.example.org, .example.net").test_client()
    assert "captions.example.org, .example.net" in caplog.text
    for host in ("captions.example.org", "Captions.Example.org:8443", "a.example.net"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    assert client.get("/", headers={"Host": "example.org"}).status_code == 400
    # A proxy that terminates TLS; one that sends its own Host.
    assert send(client, Host="captions.example.org", Origin="https://captions.example.org").status_code == 201
    assert send(client, Host="127.0.0.1:8000", Origin="https://captions.example.org").status_code == 201
    assert send(client, Host="127.0.0.1:8000", Origin="https://evil.example").status_code == 403


def test_a_star_trusts_any_host_but_no_other_origin(make_app):
    client = make_app(trusted_hosts="*").test_client()
    assert send(client, Host="any.example", Origin="http://any.example").status_code == 201
    assert send(client, Host="any.example", Origin="http://evil.example").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "same-site", "Origin": "http://localhost"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "same-origin"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://203.0.113.9"},
        {"Origin": "null"},
    ],
)
def test_pages_of_other_origins_cannot_make_changes(client, headers):
    document = send(client, Origin="http://localhost").json
    correction = f"/api/captions/{document['id']}/correction"
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    for method, path in (
        ("POST", "/api/captions"), ("PUT", correction), ("DELETE", correction),
        ("DELETE", f"/api/captions/{document['id']}"),
        ("POST", "/api/models/rollback"), ("PATCH", "/nothing/here"),
    ):  # fmt: skip
        response = client.open(path, method=method, headers=names, json={"text": "hacked"})
        assert response.status_code == 403 and response.mimetype == "application/problem+json", (method, path)
        assert re.search("another site.* may not do this.*CAPTIONER_TRUSTED_HOSTS", response.json["detail"])
    assert client.get(f"/api/captions/{document['id']}", headers=names).json["correction"] is None, "reading is allowed"


def test_programs_and_the_services_own_pages_may_make_changes(client):
    for headers in ({}, {"Sec_Fetch_Site": "none"}, {"Sec_Fetch_Site": "same-origin", "Origin": "http://localhost"}):
        assert send(client, **headers).status_code == 201
