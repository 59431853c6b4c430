"""The server in front of the app: real sockets, and toy apps in place of the real one."""

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
    """Reads what it is sent, and says how much that was."""
    count = str(len(environ["wsgi.input"].read())).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(count)))])
    return [count]


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def sent(server: Server, data: bytes) -> bytes:
    """The whole answer to bytes sent as they are, until the server closes the connection."""
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(data)
        return read_all(connection)


def assert_problem(answer: bytes, status: int, *says: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    document = ProblemDocument.model_validate_json(body)
    assert first.split()[1] == str(status) == str(document.status)
    assert first.split(" ", 2)[2] == document.title
    assert headers["Content-Type"] == "application/problem+json" and int(headers["Content-Length"]) == len(body)
    assert headers["Connection"] == "close"
    assert document.detail[0].isupper() and document.detail.endswith(".")
    for text in says:
        assert text in document.detail
    assert b"Traceback" not in body and b"waitress" not in answer


def get(url: str, **options) -> httpx.Response:
    return httpx.get(url, trust_env=False, verify=False, timeout=30, **options)


@pytest.mark.parametrize(
    "data, status, says",
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
def test_what_is_no_request_gets_a_problem_document(serve, data, status, says):
    server = serve()
    assert_problem(sent(server, data), status, says)
    assert get(server.url).text == "0"


def test_a_client_that_asks_first_is_not_invited_to_send_what_is_refused(serve):
    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: "
    assert_problem(sent(serve(), head + b"99999999999\r\n\r\n"), 413)


def test_a_client_that_asks_first_may_send_what_is_read(serve):
    address = urlsplit(serve().url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert read_all(connection).endswith(b"\r\n\r\n3")


def test_who_sends_far_too_much_still_sees_why_that_is_refused(serve):
    server = serve(max_upload_mb=1)
    for _ in range(5):
        response = httpx.post(server.url, content=bytes(12_000_000), trust_env=False, timeout=30)
        assert response.status_code == 413 and "1 MB" in response.json()["detail"]


def test_who_never_stops_sending_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr("service.http.connections.LINGER_SECONDS", 0.3)
    address = urlsplit(serve().url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
        assert_problem(read_all(connection), 413)
        with pytest.raises(OSError):
            for _ in range(200):
                connection.sendall(bytes(1000))
                time.sleep(0.05)


def test_up_to_four_uploads_at_once_are_for_the_app_to_refuse(serve):
    server = serve(max_upload_mb=1)
    assert httpx.post(server.url, content=bytes(3_900_000), trust_env=False).text == "3900000"


def test_a_crash_of_the_app_tells_nothing_of_its_inside(serve, caplog):
    def crash(environ, start_response):
        raise ValueError("the secret")

    answer = sent(serve(crash), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
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


def test_a_port_that_another_server_has(serve):
    port = urlsplit(serve().url).port
    with pytest.raises(ConfigError, match="already in use"):
        Server(plain_app, Settings(port=port))


def test_a_port_that_another_server_took_meanwhile():
    """Several processes may bind a port at which nobody listens yet."""
    first = bind("127.0.0.1", 0)
    port = first[0].getsockname()[1]
    second = bind("127.0.0.1", port)
    server = Server(plain_app, Settings(port=port), sockets=first)
    with pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is already in use"):
        Server(plain_app, Settings(port=port), sockets=second)
    server.stop()
    server.run()


def test_the_server_says_who_it_is_and_trusts_no_proxy(serve):
    def app(environ, start_response):
        start_response("200 OK", [])
        return [f"{environ['REMOTE_ADDR']} {environ['wsgi.url_scheme']}".encode()]

    response = get(serve(app).url, headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})
    assert response.headers["Server"] == "captioner" and response.text == "127.0.0.1 http"


def test_two_hundred_connections_at_once(serve):
    server = serve()
    address = urlsplit(server.url)
    connections = [socket.create_connection((address.hostname, address.port), timeout=20) for _ in range(200)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for connection in connections:
        with connection:
            assert read_all(connection).endswith(b"\r\n\r\n0")


def test_a_server_that_never_began_can_be_stopped_and_one_that_ended_too():
    server = Server(plain_app, Settings(port=0))
    server.stop()
    server.run()
    server.stop()
    address = urlsplit(server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)


def new_workers(known: set[threading.Thread]) -> set[threading.Thread]:
    """The threads of servers of this process, but for those that are known: other tests may have a server running."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("waitress")} - known


def test_a_client_that_never_reads_is_given_up_and_its_thread_with_it(monkeypatch):
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


def test_nothing_is_left_open():
    workers = new_workers(set())
    before = os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd") else []
    for _ in range(3):
        server = Server(plain_app, Settings(port=0))
        thread = threading.Thread(target=server.run)
        thread.start()
        assert get(server.url).text == "0"
        server.stop()
        thread.join(20)
    assert not before or len(os.listdir("/proc/self/fd")) <= len(before)
    assert not new_workers(workers)
