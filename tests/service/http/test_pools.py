"""Requests that wait never keep the rest of the service from answering: real servers, more clients than threads."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from urllib.parse import urlsplit

import httpx
import pytest

from service.http.pools import FOLLOWERS, THREADS, kind_of, pool_sizes
from service.http.server import Server
from service.inference.recomputing import MAX_WAITING
from service.settings import Settings
from tests.support.serving import Running

SECONDS = 60
"""Time limit for an answer."""
PLAIN = {"timeout": SECONDS, "trust_env": False, "verify": False}
"""Options of clients: reading certificates, which no test needs, takes longer than an answer."""


@pytest.mark.parametrize(
    "method, path, kind",
    [
        ("POST", "/api/captions", "captioning"),
        ("GET", "/api/captions", "reading"),
        ("GET", "/api/captions/a/evidence", "drawing"),
        ("GET", "/api/captions/a/steps", "drawing"),
        ("HEAD", "/api/captions/a/overlays/1.png", "drawing"),
        ("GET", "/api/captions/a/figure.png", "drawing"),
        ("GET", "/api/captions/a/image", "reading"),
        ("POST", "/api/translations", "translating"),
        ("GET", "/api/translations/matrix.png", "translating"),
        ("GET", "/api/captions/a/matrix.png", "translating"),
        ("GET", "/api/captions/a", "reading"),
        ("GET", "/api/captions/a?language=de", "translating"),
        ("GET", "/api/translators", "reading"),
        ("PUT", "/api/captions/a/correction", "changing"),
        ("GET", "/api/trainings/a/events", "following"),
        ("GET", "/api/models/a/bundle.zip", "drawing"),
        ("POST", "/api/datasets", "sending"),
        ("POST", "/api/models/a/promote", "sending"),
        ("POST", "/api/collections", "sending"),
        ("POST", "/api/collections/a/photos", "sending"),
        ("POST", "/api/collections/a/dataset", "sending"),
        ("POST", "/api/collections/a/replace", "changing"),
        ("GET", "/api/collections/a/events", "following"),
        ("GET", "/api/collections/a/export", "exporting"),
        ("GET", "/api/collections/a/photos", "reading"),
        ("POST", "/api/trainings/a/cancel", "changing"),
        ("GET", "/api/health/live", "alive"),
        ("GET", "/api/health/ready", "health"),
        ("GET", "/metrics", "health"),
        ("POST", "/api/health/live", "changing"),
        ("GET", "/nothing/here", "reading"),
    ],
)
def test_each_kind_of_request_has_its_own_threads(method, path, kind):
    path, _, query = path.partition("?")
    assert kind_of(method, path, query) == kind and kind in pool_sizes(Settings())


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(100) as threads:
        yield threads


def answers_health(running: Running, *others: str) -> None:
    """Check with a new client, over new connections."""
    with httpx.Client(base_url=running.url, **PLAIN) as client:
        for path in ("/api/health/live", "/api/health/ready", "/metrics", *others):
            assert client.get(path).status_code == 200, path


def post(running: Running, jpeg: bytes) -> httpx.Response:
    return httpx.post(f"{running.url}/api/captions", content=jpeg, headers={"Content-Type": "image/jpeg"}, **PLAIN)


def test_requests_waiting_for_occlusion_maps_leave_threads_to_all_others(start, jpeg, pool):
    running = start()
    document = post(running, jpeg).json()
    paths = [f"/api/captions/{document['id']}/{tail}" for tail in
             ("evidence", "overlays/1.png?maps=evidence", "figure.png?maps=evidence")] * 20  # fmt: skip
    with running.service.recomputation._lock:
        futures = [pool.submit(httpx.get, f"{running.url}{path}", **PLAIN) for path in paths]
        refusals = itertools.islice(as_completed(futures), len(paths) - MAX_WAITING)
        responses = [future.result() for future in refusals]
        answers_health(running, "/", "/api/captions", f"/api/captions/{document['id']}/figure.png")
        assert post(running, jpeg).status_code == 201
        assert sum(not future.done() for future in futures) == MAX_WAITING
    for response in responses:
        assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0
        assert "Too many requests are waiting for this: try again" in response.json()["detail"]
    assert [future.result().status_code for future in futures].count(200) == MAX_WAITING


def test_waiting_photos_leave_threads_to_all_others(start, jpeg, pool, gate):
    running = start(queue_size=2, batch_size=1)
    count = pool_sizes(running.service.settings)["captioning"] + 20
    gate.clear()
    futures = [pool.submit(post, running, jpeg) for _ in range(count)]
    while running.service.serving.batcher.depth < 2:
        assert not gate.wait(0.01)
    answers_health(running, "/", "/api/captions", "/api/models/current")
    gate.set()
    statuses = [future.result().status_code for future in futures]
    assert set(statuses) <= {201, 503} and 201 in statuses


def test_waiting_data_sets_leave_threads_to_all_others(start, pool):
    running = start()
    headers = {"Authorization": running.client.headers["Authorization"]}
    with running.service.datasets._adding_lock:
        futures = [
            pool.submit(httpx.post, f"{running.url}/api/datasets", json={"corrections": True}, headers=headers, **PLAIN)
            for _ in range(30)
        ]
        responses = [future.result() for _, future in zip(range(27), as_completed(futures), strict=False)]
        answers_health(running, "/", "/api/captions")
        assert running.client.get("/api/datasets").status_code == 200
    for response in responses:
        assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0
    assert [future.result().status_code for future in futures].count(422) == 3, "there are no corrections"


@contextlib.contextmanager
def connections(url: str, count: int) -> Iterator[list[socket.socket]]:
    address = urlsplit(url)
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(socket.create_connection((address.hostname, address.port), timeout=SECONDS))
            for _ in range(count)
        ]


def test_event_streams_and_slow_uploads_leave_threads_to_all_others(start, jpeg):
    running = start()
    training = running.service.trainings.add({"dataset": "a" * 32, "replay": None, "start": "built-in",
                                              "preset": None, "options": {}, "chosen": {},
                                              "promote_margin": None})  # fmt: skip
    token = running.client.headers["Authorization"]
    follow = f"GET /api/trainings/{training.id}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n\r\n"
    upload = (
        "POST /api/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 99999\r\n\r\n"
    )
    with connections(running.url, FOLLOWERS + 30) as followers, connections(running.url, 200) as uploads:
        for connection in uploads:
            connection.sendall(upload.encode() + jpeg)
        for connection in followers:
            connection.sendall(follow.encode())
        statuses = [connection.recv(12) for connection in followers]
        assert statuses.count(b"HTTP/1.1 200") == FOLLOWERS and statuses.count(b"HTTP/1.1 503") == 30
        answers_health(running, "/", "/api/captions")
        assert post(running, jpeg).status_code == 201
        running.service.trainings.cancel(training.id)


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., Server]]:
    """Serve an app in this process."""
    ends = []

    def start_server(app) -> Server:
        monkeypatch.setattr("service.http.server.GRACE_SECONDS", 0)
        server = Server(app, Settings(port=0, deadline_seconds=0.1))
        thread = threading.Thread(target=server.run)
        thread.start()
        ends.append((server, thread))
        return server

    yield start_server
    for server, thread in ends:
        server.stop()
        thread.join(SECONDS)
        assert not thread.is_alive()


def app(environ, start_response):
    body = bytes(3_000_000 if environ["PATH_INFO"] == "/large" else 1)
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def test_clients_that_do_not_read_their_answers_hold_no_threads(serve):
    server = serve(app)
    with connections(server.url, THREADS["reading"] + 8) as silent:
        for connection in silent:  # ten answers of 3 MB: more than the server buffers per client
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        for connection in silent:
            assert connection.recv(12) == b"HTTP/1.1 200"
        for _ in range(5):
            assert httpx.get(server.url, **PLAIN).status_code == 200
        received = 12
        while received < 30_000_000:  # a client that reads gets all of it
            received += len(silent[0].recv(1 << 20))


def test_a_client_that_stops_reading_is_disconnected(serve, monkeypatch):
    monkeypatch.setattr("service.http.connections.IDLE_SECONDS", 0.2)
    monkeypatch.setattr("service.http.server.CLEANUP_SECONDS", 0.1)
    server = serve(app)
    with connections(server.url, 1) as (silent,):
        silent.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        assert silent.recv(1) == b"H"
        while server._channels():
            assert not threading.Event().wait(0.05)


def test_idle_and_slow_connections_beyond_the_limit_lock_nobody_out(serve, monkeypatch):
    monkeypatch.setattr("service.http.server.CONNECTIONS", 40)
    server = serve(app)
    with connections(server.url, 50) as idle, connections(server.url, 50) as slow:
        for connection in slow:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
        for _ in range(20):
            assert httpx.get(server.url, **PLAIN).status_code == 200
        assert idle[0].recv(1) == b"", "the longest idle connection is closed"
