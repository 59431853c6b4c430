"""Shutdown of a server process: started requests are finished, and idle clients do not delay it."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

ROOT = Path(__file__).parents[3]
LARGE = 30_000_000

# Arguments: settings as JSON, and the grace period in seconds. Prints a line when it is ready, when it receives the
# signal to end, and at the start of each request for /slow/N, which takes N tenths of a second.
TOY = """
import json, os, sys, time
from service.http import server
from service.settings import Settings

def say(line):
    os.write(1, f"{line}\\n".encode())  # at once: print would mix the lines of threads

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path.startswith("/slow/"):
        say("slow")
        time.sleep(int(path.rpartition("/")[2]) / 10)
    body = b"x" * 30_000_000 if path == "/large" else f"whole answer to {path}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

server.GRACE_SECONDS = float(sys.argv[2])
running = server.Server(app, Settings(port=0, **json.loads(sys.argv[1])), lambda: say("told to end"))
server.stop_on_signals(running)
say(running.url)
running.run()
say("ended")
"""


class Toy:
    """A process that serves the toy app."""

    def __init__(self, grace: float, **settings) -> None:
        command = [sys.executable, "-W", "error", "-c", TOY, json.dumps(settings), str(grace)]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self.url = self.read_line().strip()
        self.address = (urlsplit(self.url).hostname, urlsplit(self.url).port)

    def read_line(self) -> str:
        """Return the next line of its output, or an empty text once it has ended."""
        return self.process.stdout.readline()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send a signal and wait until it is received."""
        self.process.send_signal(number)
        while (line := self.read_line()) and line != "told to end\n":
            pass
        assert line

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def end(self) -> int:
        """Wait until it ends without another signal, and return its exit status."""
        output, errors = self.process.communicate(timeout=30)
        assert "Traceback" not in errors and "Error" not in errors, errors
        assert output.endswith("ended\n")
        return self.process.returncode


@pytest.fixture
def toy() -> Iterator[Callable[..., Toy]]:
    toys = []

    def start(grace: float = 5, **settings) -> Toy:
        toys.append(Toy(grace, **settings))
        return toys[-1]

    yield start
    for server in toys:
        server.process.kill()
        server.process.communicate()


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 20), b""))


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, verify=False, timeout=30)


def test_requests_in_progress_get_their_whole_answers(toy):
    server = toy()
    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(get, f"{server.url}/slow/15") for _ in range(10)]
        assert [server.read_line() for _ in range(10)] == ["slow\n"] * 10
        server.stop()
        end = time.monotonic() + 20
        with pytest.raises(ConnectionRefusedError):
            while time.monotonic() < end:
                with suppress(ConnectionResetError):  # the socket may close in the middle of a handshake
                    server.connect().close()
        for answer in answers:
            assert answer.result().text == "whole answer to /slow/15"
            assert answer.result().headers["Connection"] == "close"
    assert server.end() == 0


def test_queued_and_just_arrived_requests_are_answered(toy):
    server = toy(queue_size=1, batch_size=1)
    connections = [server.connect() for _ in range(40)]
    for connection in connections:  # ten threads answer them
        connection.sendall(b"GET /slow/3 HTTP/1.1\r\nHost: x\r\n\r\n")
    server.stop()
    for connection in connections:
        with connection:
            assert read_all(connection).endswith(b"whole answer to /slow/3")
    assert server.end() == 0


def test_a_slow_reader_gets_a_large_answer_in_full(toy):
    server = toy()
    with server.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        received = len(connection.recv(1000))
        server.stop()
        while data := connection.recv(1 << 17):
            received += len(data)
            time.sleep(0.003)
    assert received > LARGE
    assert server.end() == 0


def test_pipelined_requests_are_all_answered(toy):
    server = toy()
    with server.connect() as connection:
        connection.sendall(b"".join(b"GET /slow/%d HTTP/1.1\r\nHost: x\r\n\r\n" % tenths for tenths in (4, 3, 2)))
        assert server.read_line() == "slow\n"
        server.stop()
        answer = read_all(connection)
    assert [answer.count(b"whole answer to /slow/%d" % tenths) for tenths in (4, 3, 2)] == [1, 1, 1]
    assert answer.count(b"Connection: close") == 1
    assert server.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_and_incomplete_connections_do_not_delay_the_end(toy, number):
    """Twenty kept-alive connections, ten that sent nothing, and ten that stopped in the middle of a photo."""
    server = toy()
    clients = [httpx.Client(trust_env=False) for _ in range(20)]
    for client in clients:
        assert client.get(server.url).text == "whole answer to /"
    silent = [server.connect() for _ in range(20)]
    for connection in silent[:10]:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nhalf")
    started = time.monotonic()
    server.stop(number)
    assert server.end() == 0
    assert time.monotonic() - started < 10
    for connection in (*silent, *clients):
        connection.close()


def test_a_client_that_left_delays_the_end_only_by_its_request(toy):
    server = toy()
    with server.connect() as connection:
        connection.sendall(b"GET /slow/5 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.read_line() == "slow\n"
    server.stop()
    assert server.end() == 0


def test_requests_beyond_the_grace_period_are_aborted(toy):
    server = toy(grace=0.2, deadline_seconds=0.3)
    with server.connect() as connection:
        connection.sendall(b"GET /slow/200 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.read_line() == "slow\n"
        started = time.monotonic()
        server.stop()
        assert read_all(connection) == b""
        assert 0.4 < time.monotonic() - started < 10
    assert server.process.wait(10) == 0
    assert "1 clients did not get their whole response" in server.process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(toy, number):
    server = toy()
    with server.connect() as connection:
        connection.sendall(b"GET /slow/200 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert server.read_line() == "slow\n"
        server.stop()
        server.process.send_signal(number)
        assert server.process.wait(10) == 128 + number
