"""The HTTP server with real sockets and toy apps."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from captioner.errors import ConfigError
from service.errors import ProblemDocument
from service.http.addresses import bind
from service.http.server import MAX_HEADER_BYTES, Server
from service.settings import Settings


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Serve an app in this process."""
    ends = []

    def start(app=None, **settings) -> Server:
        server = Server(app or plain_app, Settings(**({"port": 0} | settings)))
        thread = threading.Thread(target=server.run)
        thread.start()
        ends.append((server, thread))
        return server

    yield start
    for server, thread in ends:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def plain_app(environ, start_response):
    """Read the body and answer with its length."""
    count = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(count)))])
    return [count]


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def exchange(server: Server, data: bytes) -> bytes:
    """Send raw bytes and return the whole answer, until the server closes the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(data)
        return read_all(connection)


def assert_problem(answer: bytes, status: int, *messages: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    document = ProblemDocument.model_validate_json(body)
    assert first.split()[1] == str(status) == str(document.status)
    assert first.split(" ", 2)[2] == document.title
    assert headers["Content-Type"] == "application/problem+json" and int(headers["Content-Length"]) == len(body)
    assert headers["Connection"] == "close"
    assert document.detail[0].isupper() and document.detail.endswith(".")
    for text in messages:
        assert text in document.detail
    assert b"Traceback" not in body and b"waitress" not in answer


def get(url: str, **options) -> httpx.Response:
    return httpx.get(url, trust_env=False, verify=False, timeout=30, **options)


@pytest.mark.parametrize(
    "data, status, message",
    [
        (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03 garbage\r\n\r\n", 400, "HTTP client"),
        (b"GET /\r\nHost x\r\n\r\n", 400, "Invalid header"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400, "Content-Length is invalid"),
        (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400, 'Malformed HTTP method "get"'),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "Invalid chunk size"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "Transfer-Encoding"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413, "a photo of 20 MB"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n", 431, "64 KB"),
        (b"GET /" + b"x" * MAX_HEADER_BYTES, 431, "64 KB"),
    ],
)
def test_an_invalid_request_gets_a_problem_document(serve, data, status, message):
    server = serve()
    assert_problem(exchange(server, data), status, message)
    assert get(server.url).text == "0"


def test_expect_continue_is_refused_for_a_body_that_is_too_large(serve):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
    assert_problem(exchange(serve(), head + b"99999999999\r\n\r\n"), 413)


def test_expect_continue_is_granted_for_an_acceptable_body(serve):
    address = urlsplit(serve().url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert read_all(connection).endswith(b"\r\n\r\n3")


def test_a_client_that_sends_far_too_much_still_reads_the_refusal(serve):
    server = serve(max_upload_mb=1)
    for _ in range(5):
        response = httpx.post(server.url, content=bytes(12_000_000), trust_env=False, timeout=30)
        assert response.status_code == 413 and "1 MB" in response.json()["detail"]


def test_a_client_that_never_stops_sending_is_disconnected(serve, monkeypatch):
    monkeypatch.setattr("service.http.connections.LINGER_SECONDS", 0.3)
    address = urlsplit(serve().url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert_problem(read_all(connection), 413)
        with pytest.raises(OSError):
            for _ in range(200):
                connection.sendall(bytes(1000))
                time.sleep(0.05)


def test_bodies_of_up_to_four_uploads_reach_the_app(serve):
    server = serve(max_upload_mb=1)
    assert httpx.post(server.url, content=bytes(3_900_000), trust_env=False).text == "3900000"


def test_a_crash_of_the_app_reveals_no_details(serve, caplog):
    def crash(environ, start_response):
        raise ValueError("the secret")

    answer = exchange(serve(crash), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert_problem(answer, 500, "the cause in its log")
    assert b"secret" not in answer and "the secret" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "::"])
def test_the_url_leads_to_the_app(serve, host):
    try:
        server = serve(host=host)
    except ConfigError:
        assert ":" in host, "every machine has IPv4"
        pytest.skip("this machine has no IPv6")
    assert get(server.url).text == "0"


def test_every_address_of_a_name_answers(serve, monkeypatch):
    def getaddrinfo(host, port, *_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2")]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        server = serve(host="a-name")
    port = urlsplit(server.url).port
    for host in ("127.0.0.1", "127.0.0.2"):
        assert get(f"http://{host}:{port}").text == "0"


def test_a_port_of_another_server_is_refused(serve):
    port = urlsplit(serve().url).port
    with pytest.raises(ConfigError, match="already in use"):
        Server(plain_app, Settings(port=port))


def test_a_port_taken_between_binding_and_listening_is_refused():
    """Several processes may bind a port as long as none listens on it."""
    first = bind("127.0.0.1", 0)
    port = first[0].getsockname()[1]
    second = bind("127.0.0.1", port)
    server = Server(plain_app, Settings(port=port), sockets=first)
    with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is already in use"):
        Server(plain_app, Settings(port=port), sockets=second)
    server.stop()
    server.run()


def test_the_server_names_itself_and_trusts_no_proxy_headers(serve):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode()]

    response = get(serve(app).url, headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})
    assert response.headers["Server"] == "captioner" and response.text == "127.0.0.1 http"


def test_two_hundred_simultaneous_connections_are_answered(serve):
    server = serve()
    address = urlsplit(server.url)
    connections = [socket.create_connection((address.hostname, address.port), timeout=20) for _ in range(200)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for connection in connections:
        with connection:
            assert read_all(connection).endswith(b"\r\n\r\n0")


def test_a_server_can_be_stopped_before_it_runs_and_after_it_ended():
    server = Server(plain_app, Settings(port=0))
    server.stop()
    server.run()
    server.stop()
    address = urlsplit(server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)


def new_workers(earlier: set[threading.Thread]) -> set[threading.Thread]:
    """Return the server threads of this process that are not in `earlier`: other tests may have a server running."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("waitress")} - earlier


def test_stopping_does_not_wait_for_a_client_that_never_reads(monkeypatch):
    def app(environ, start_response):
        start_response("200 OK", [])
        yield from (bytes(1_000_000) for _ in range(60))

    monkeypatch.setattr("service.http.server.GRACE_SECONDS", 0.1)
    workers = new_workers(set())
    server = Server(app, Settings(port=0, deadline_seconds=0.3))
    thread = threading.Thread(target=server.run)
    thread.start()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
        server.stop()
        thread.join(20)
    assert not thread.is_alive()
    assert not new_workers(workers)


def test_a_stopped_server_leaves_no_sockets_or_threads():
    workers = new_workers(set())
    descriptors = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    for _ in range(3):
        server = Server(plain_app, Settings(port=0))
        thread = threading.Thread(target=server.run)
        thread.start()
        assert get(server.url).text == "0"
        server.stop()
        thread.join(20)
    assert not descriptors or len(os.listdir("/proc/self/fd")) <= len(descriptors)
    assert not new_workers(workers)
