"""Requests per minute are limited for each client without affecting others."""

import pytest

from service.access.rates import RateLimitExceeded, is_costly, is_upload
from tests.support.limited_app import LimitedApp
from tests.support.pictures import picture_bytes
from tests.support.servers import redis_address, redis_process


def test_a_request_beyond_the_limit_is_refused_with_the_time_to_wait():
    rates = LimitedApp(3)
    for _ in range(3):
        rates.count("10.0.0.1")
    with pytest.raises(RateLimitExceeded) as raised:
        rates.count("10.0.0.1")
    assert 1 <= raised.value.seconds <= 60
    rates.count("10.0.0.2")


def test_zero_means_no_limit():
    rates = LimitedApp(0)
    for _ in range(1000):
        rates.count("10.0.0.1")


def test_all_ipv6_addresses_of_a_network_count_as_one_client():
    rates = LimitedApp(1)
    rates.count("2001:db8::1")
    with pytest.raises(RateLimitExceeded):
        rates.count("2001:db8::ffff:1")
    rates.count("2001:db8:0:1::1")
    rates.count("::ffff:10.0.0.1")
    rates.count("::ffff:10.0.0.2")
    rates.count("")


def test_replicas_with_a_redis_count_together_and_alone_while_it_is_away(tmp_path):
    replicas = [LimitedApp(2, redis_address(tmp_path)) for _ in range(2)]
    with redis_process(tmp_path):
        for replica in replicas:
            replica.count("10.0.0.1")
        for replica in replicas:
            with pytest.raises(RateLimitExceeded) as raised:
                replica.count("10.0.0.1")
            assert 1 <= raised.value.seconds <= 60
    for replica in replicas:
        replica.count("10.0.0.1")
        replica.count("10.0.0.1")
        with pytest.raises(RateLimitExceeded):
            replica.count("10.0.0.1")


@pytest.mark.parametrize(
    "method, path, costly",
    [
        ("POST", "/api/captions", True),
        ("POST", "/api/datasets", True),
        ("GET", "/api/captions", False),
        ("GET", f"/api/captions/{'0' * 32}", False),
        ("GET", f"/api/captions/{'0' * 32}/image", False),
        ("GET", f"/api/captions/{'0' * 32}/evidence", True),
        ("GET", f"/api/captions/{'0' * 32}/steps", True),
        ("HEAD", f"/api/captions/{'0' * 32}/figure.png", True),
        ("GET", f"/api/captions/{'0' * 32}/overlays/1.png", True),
        ("GET", f"/api/captions/{'0' * 32}/matrix.png", True),
        ("GET", "/api/translations/matrix.png", True),
        ("POST", "/api/translations", True),
        ("GET", "/api/translators", False),
        ("POST", "/api/collections", True),
        ("POST", "/api/collections/x/photos", True),
        ("POST", "/api/collections/x/replace", True),
        ("POST", "/api/collections/x/caption-again", True),
        ("GET", "/api/collections/x/export", True),
        ("GET", "/api/collections/x/photos", False),
        ("PATCH", "/api/collections/x/photos/1", False),
        ("GET", "/api/collections/x/photos/1/thumbnail.jpg", False),
        ("GET", "/api/health/ready", False),
    ],
)
def test_only_costly_requests_count(method, path, costly):
    assert is_costly(method, path) == costly


def test_a_stored_caption_counts_if_it_is_translated():
    assert is_costly("GET", f"/api/captions/{'0' * 32}", translates=True)
    assert not is_costly("GET", "/api/captions", translates=True)


def test_only_requests_that_store_something_are_uploads():
    assert is_upload("POST", "/api/captions") and not is_upload("POST", "/api/translations")
    assert is_upload("POST", "/api/collections") and is_upload("POST", "/api/collections/x/photos")
    assert not is_upload("GET", "/api/captions") and not is_upload("POST", "/api/collections/x/replace")


def test_a_large_collection_counts_for_its_bytes_but_never_beyond_the_limit():
    rates = LimitedApp(3, upload_bytes=1000)
    rates.count("10.0.0.1", "/api/collections", bytes(999))
    rates.count("10.0.0.1", "/api/collections", bytes(1000))
    with pytest.raises(RateLimitExceeded):
        rates.count("10.0.0.1")
    rates.count("10.0.0.2", "/api/collections", bytes(50_000))
    with pytest.raises(RateLimitExceeded):
        rates.count("10.0.0.2")
    for _ in range(3):
        rates.count("10.0.0.3", "/api/captions", bytes(50_000))


def test_a_client_beyond_the_limit_gets_429_with_retry_after(start):
    running = start(requests_per_minute=2)
    photo = picture_bytes()
    answers = [running.client.post("/api/captions", files={"image": ("a.jpg", photo)}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 429]
    response = answers[2]
    assert response.headers["Content-Type"] == "application/problem+json"
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.json()["retry_after"] == int(response.headers["Retry-After"])
    url = f"/api/captions/{answers[0].json()['id']}"
    assert running.client.get(f"{url}/figure.png").status_code == 429
    assert running.client.get(url).status_code == 200, "cheap requests are still answered"
