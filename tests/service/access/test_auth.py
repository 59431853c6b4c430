"""The admin token protects every operation that changes what others see."""

import threading
from pathlib import Path

import httpx
import pytest

from captioner.errors import ConfigError
from service.access.auth import (
    MAX_FAILURES,
    Guard,
    TokenMissing,
    TokenWrong,
    TooManyFailures,
    admin_token,
    needs_token,
    takes_large_body,
)
from service.settings import Settings


@pytest.fixture
def settings(tmp_path):
    settings = Settings(home=tmp_path / "home")
    settings.make_home()
    return settings


def test_a_token_is_created_once_and_readable_by_its_owner_only(settings):
    token, is_ours = admin_token(settings)
    assert is_ours and len(token) >= 32
    assert admin_token(settings) == (token, True)
    assert (settings.home / "admin-token").stat().st_mode & 0o777 == 0o600


def test_services_starting_at_once_create_one_token(settings):
    barrier, tokens = threading.Barrier(8), []

    def make():
        barrier.wait()
        tokens.append(admin_token(settings)[0])

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 1 and [path.name for path in settings.home.glob("*token*")] == ["admin-token"]


def test_a_token_file_readable_by_others_gets_private_permissions(settings):
    path = settings.home / "admin-token"
    path.write_text("abcdefghijklmnop\n")
    path.chmod(0o644)
    assert admin_token(settings)[0] == "abcdefghijklmnop"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_an_empty_or_damaged_token_file_is_replaced(settings, content):
    (settings.home / "admin-token").write_bytes(content)
    token, _ = admin_token(settings)
    assert len(token) >= 32 and admin_token(settings)[0] == token


def test_a_token_file_that_cannot_be_written_is_an_error_with_advice(settings):
    (settings.home / "admin-token").mkdir()
    with pytest.raises(ConfigError, match="CAPTIONER_ADMIN_TOKEN"):
        admin_token(settings)


def test_a_configured_token_takes_precedence_and_is_never_shown(tmp_path):
    settings = Settings(home=tmp_path, admin_token="0123456789abcdef")
    assert admin_token(settings) == ("0123456789abcdef", False)
    assert "0123456789abcdef" not in repr(settings) + str(settings)
    assert not list(tmp_path.iterdir())


def test_the_guard_accepts_the_token_and_refuses_others():
    guard = Guard("0123456789abcdef")
    guard.check("Bearer 0123456789abcdef", "a")
    guard.check("bearer  0123456789abcdef ", "a")
    for missing in (None, ""):
        with pytest.raises(TokenMissing):
            guard.check(missing, "a")
    for wrong in ("Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer", "Bearer \xe9"):
        with pytest.raises(TokenWrong):
            guard.check(wrong, "a")


def test_guesses_are_limited_per_address():
    guard = Guard("0123456789abcdef")
    for _ in range(MAX_FAILURES):
        with pytest.raises(TokenWrong):
            guard.check("Bearer guess", "a")
    for guess in ("Bearer guess", "Bearer 0123456789abcdef"):
        with pytest.raises(TooManyFailures) as raised:
            guard.check(guess, "a")
        assert 1 <= raised.value.seconds <= 60
        assert not guard.allows({"AUTHORIZATION": guess}, "a")
    guard.check("Bearer 0123456789abcdef", "b")


def test_guesses_from_all_addresses_of_an_ipv6_network_count_together():
    guard = Guard("0123456789abcdef")
    for number in range(MAX_FAILURES):
        with pytest.raises(TokenWrong):
            guard.check("Bearer guess", f"2001:db8::{number}:1")
    with pytest.raises(TooManyFailures):
        guard.check("Bearer guess", "2001:db8::ffff:1")
    assert not guard.allows({"AUTHORIZATION": "Bearer 0123456789abcdef"}, "2001:db8::ffff:2%eth0")
    guard.check("Bearer 0123456789abcdef", "2001:db8:0:1::1")
    guard.check("Bearer 0123456789abcdef", "::ffff:10.0.0.1")


def test_the_token_is_needed_for_changes_and_for_admin_data():
    for method, path in (
        ("GET", "/api/datasets"), ("POST", "/api/datasets"), ("GET", "/api/trainings/x/events"), ("GET", "/api/models"),
        ("POST", "/api/models/rollback"), ("DELETE", "/api/captions/x"), ("DELETE", "/api/models/current/x"),
        ("GET", "/api/collections"), ("HEAD", "/api/collections"), ("PATCH", "/api/collections/x"),
        ("DELETE", "/api/collections/x"), ("DELETE", "/api/collections/x/photos"),
        ("POST", "/api/collections/x/dataset"),
    ):  # fmt: skip
        assert needs_token(method, path), path
    for method, path in (
        ("GET", "/"), ("POST", "/api/captions"), ("GET", "/api/captions/x"), ("PUT", "/api/captions/x/correction"),
        ("DELETE", "/api/captions/x/correction"), ("GET", "/api/models/current"), ("GET", "/api/health/live"),
        ("POST", "/api/collections"), ("GET", "/api/collections/x"), ("POST", "/api/collections/x/photos"),
        ("PATCH", "/api/collections/x/photos/1"), ("PATCH", "/api/collections/x/photos"),
        ("POST", "/api/collections/x/cancel"),
    ):  # fmt: skip
        assert not needs_token(method, path), path


def test_only_uploads_of_many_photos_and_captioners_may_be_large():
    for path in ("/api/datasets", "/api/models", "/api/collections", "/api/collections/x/photos"):
        assert takes_large_body("POST", path) and not takes_large_body("PATCH", path)
    for path in ("/api/captions", "/api/collections/x", "/api/collections/x/replace", "/api/trainings"):
        assert not takes_large_body("POST", path)


@pytest.fixture
def stranger(running):
    """A client without the token."""
    with httpx.Client(base_url=running.url, trust_env=False, verify=False, timeout=30) as client:
        yield client


def test_without_the_token_clients_may_caption_but_not_change_anything(running, stranger, jpeg):
    document = stranger.post("/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}).json()
    assert stranger.put(f"/api/captions/{document['id']}/correction", json={"text": "A dog."}).status_code == 200
    for method, path in (
        ("DELETE", f"/api/captions/{document['id']}"), ("GET", "/api/datasets"), ("POST", "/api/datasets"),
        ("POST", "/api/trainings"), ("POST", "/api/models/rollback"), ("POST", "/api/models/built-in/promote"),
    ):  # fmt: skip
        response = stranger.request(method, path)
        assert response.status_code == 401 and response.headers["WWW-Authenticate"] == "Bearer"
        assert "Authorization: Bearer TOKEN" in response.json()["detail"]
        token = running.client.headers["Authorization"].split()[1]
        assert stranger.request(method, path, params={"token": token}).status_code == 401, "not in the URL"
    assert stranger.get(f"/api/captions/{document['id']}").status_code == 200
    assert stranger.get("/api/models/current").status_code == 200
    assert running.client.delete(f"/api/captions/{document['id']}").status_code == 204


def test_a_client_that_guesses_tokens_has_to_wait_and_others_do_not(running, stranger):
    codes = [stranger.get("/api/models", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(12)]
    assert codes == [401] * 10 + [429] * 2
    response = stranger.get("/api/models", headers={"Authorization": "Bearer x"})
    assert 1 <= int(response.headers["Retry-After"]) <= 60 and "Too many wrong tokens" in response.json()["detail"]
    assert stranger.get("/api/models/current").status_code == 200


def test_the_token_is_never_logged(running, caplog):
    caplog.set_level("DEBUG")
    running.client.get("/api/models")
    assert running.client.headers["Authorization"].split()[1] not in caplog.text
    assert Path(running.service.settings.home / "admin-token").is_file()
