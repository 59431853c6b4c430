"""Requests that arrive too slowly are ended, others are not."""

import socket
import time

import pytest

from service.http import server, slowness
from service.http.slowness import MIN_BYTES_PER_SECOND, PATIENCE_SECONDS, is_too_slow
from tests.support.pictures import picture_bytes

HEAD = b"POST /api/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 5000\r\n\r\n"


@pytest.mark.parametrize(
    "seconds, received, header, is_slow",
    [
        (PATIENCE_SECONDS - 1, 0, False, False),
        (PATIENCE_SECONDS + 1, 60_000, False, True),
        (PATIENCE_SECONDS + 1, 0, True, True),
        (PATIENCE_SECONDS + 59, 60 * MIN_BYTES_PER_SECOND, True, False),
        (PATIENCE_SECONDS + 61, 60 * MIN_BYTES_PER_SECOND, True, True),
        (3600, 4_000_000_000, True, False),  # a data set over an hour
    ],
)
def test_slowness_depends_on_the_time_and_the_received_bytes(seconds, received, header, is_slow):
    assert is_too_slow(seconds, received, header) == is_slow


@pytest.fixture
def impatient(start, monkeypatch):
    monkeypatch.setattr(slowness, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(server, "CLEANUP_SECONDS", 0.2)
    return start()


@pytest.mark.parametrize("first", [HEAD + b"half", HEAD[:40]])
def test_a_request_that_arrives_byte_by_byte_is_ended(impatient, first):
    address = (impatient.client.base_url.host, impatient.client.base_url.port)
    began = time.monotonic()
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(first)
        connection.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - began < 20:
            try:
                connection.sendall(b"x")
                answer = connection.recv(65536)
            except TimeoutError:
                continue
        connection.settimeout(20)
        answer += b"".join(iter(lambda: connection.recv(65536), b""))
    assert b" 408 Request Timeout\r\n" in answer
    assert b"application/problem+json" in answer and b"too slowly" in answer
    assert impatient.client.post("/api/captions", files={"image": ("a.jpg", picture_bytes())}).status_code == 201


def test_an_idle_kept_alive_connection_is_not_slow(impatient):
    assert impatient.client.get("/api/health/live").status_code == 200
    time.sleep(2)
    assert impatient.client.get("/api/health/live").status_code == 200
