"""Requests with invalid content or bytes: the answer must be a problem document or a success, never a 500."""

import io
import json
import socket
import tempfile
import threading
import zipfile
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import torch
from PIL import Image

from captioner.captioner import Captioner
from service.app import create_app
from service.errors import MEDIA_TYPE
from service.http.server import Server
from service.settings import Settings
from stress.fuzz.kinds import WrongResult
from stress.fuzz.mutations import json_bytes, mutate_bytes
from stress.tiny_captioner import tiny_bundle

TOKEN = "a secret of this process alone"
_SECONDS = 20
"""Time limit for an answer; far more than one takes."""

_IDS = ("0" * 32, "f" * 31, "built-in", "0" * 12, "..", "%2e%2e", "\0", "a/b", "1", "-1", "9" * 40, "é", "' OR 1=1--")
_QUERIES = (
    "", "?", "?beam_width=2", "?beam_width=-1", "?captions=3&stream=1", "?page=0", "?page=1e9", "?per_page=100000",
    "?size=0", "?size=99999999", "?name=../../x", "?name=%00", "?style=x", "?colour_map=jet&opacity=nan",
    "?a[]=1&a[]=2",    "?page=" + "9" * 400, "?maps=evidence", "?=&=&&", "?%ff%fe",
)  # fmt: skip
_TYPES = (
    "application/json", "image/jpeg", "multipart/form-data; boundary=x", "application/zip", "image/svg+xml",
    "multipart/form-data", "application/octet-stream", "text/plain; charset=utf-99",
    "application/x-www-form-urlencoded",    "", "x" * 300, "application/json; charset=utf-16",
)  # fmt: skip
_METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "BREW")
_BODIES: tuple[Any, ...] = (
    {"image": "aGVsbG8="}, {"image": "", "beam_width": 2}, {"text": "a dog"}, {"name": "x", "folder": "."},
    {"corrections": True}, {"dataset": "0" * 32, "start": "built-in", "options": {"epochs": 1}, "preset": "quick"},
)  # fmt: skip


class Requests:
    """Well-formed HTTP with odd methods, paths, options, headers and bodies, mostly with the token."""

    expected: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self._app = make_app()
        self._client = self._app.test_client()
        rules = sorted(self._app.url_map.iter_rules(), key=lambda rule: (rule.rule, sorted(rule.methods)))
        self._routes = [(rule.rule, method) for rule in rules for method in sorted(rule.methods)]
        self._jpeg = _jpeg()
        self._caption_id = self._create_caption()

    def case(self, rng: Random) -> str:
        rule, method = rng.choice(self._routes) if rng.random() < 0.7 else ("/api/captions", "POST")
        path = _make_url(rule, self._caption_id, rng)
        method = method if rng.random() < 0.9 else rng.choice(_METHODS)
        kind = rng.choice(_TYPES[:4] if rng.random() < 0.8 else _TYPES)
        token = TOKEN if rng.random() < 0.9 else "x"
        headers = {"Authorization": f"Bearer {token}", "Accept": rng.choice(("*/*", "x/y"))}
        # Each from its own address: rate limits are tested elsewhere.
        peer = {"REMOTE_ADDR": ".".join(str(rng.randrange(256)) for _ in range(4))}
        response = self._client.open(
            path, method=method, data=self._body(rng, kind), content_type=kind, headers=headers, environ_base=peer
        )
        try:
            check(response.status_code, dict(response.headers), response.get_data(), method)
            if response.status_code == 204:
                self._caption_id = self._create_caption()
            return str(response.status_code)
        finally:
            response.close()

    def _create_caption(self) -> str:
        """Return the id of a new caption."""
        return self._client.post("/api/captions", data=self._jpeg, content_type="image/jpeg").json["id"]

    def _body(self, rng: Random, kind: str) -> bytes:
        body_type = _TYPES.index(kind) if rng.random() < 0.8 else rng.randrange(5)
        match body_type:
            case 1:
                return self._jpeg if rng.random() < 0.3 else mutate_bytes(self._jpeg, (), rng)
            case 3:
                return mutate_bytes(_zip(), (self._jpeg,), rng)
            case 2:
                part = b'Content-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + self._jpeg
                return mutate_bytes(b"--x\r\n" + part + b"\r\n--x--\r\n", (), rng, max_changes=3)
            case 4:
                return b""
            case _:
                return json_bytes(rng.choice(_BODIES), rng)


class Connections:
    """Raw bytes of a connection: requests with wrong lines, lengths, chunks and ends, sometimes several in a row."""

    expected: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        app = make_app()
        settings = app.extensions["captioner"].settings
        self._server = Server(app, settings, guard=app.extensions["guard"])
        host, _, port = self._server.url.removeprefix("http://").partition(":")
        self._address = (host, int(port.rstrip("/")))
        threading.Thread(target=self._server.run, daemon=True).start()
        with socket.create_connection(self._address, timeout=_SECONDS) as connection:
            # Wait for an answer: all threads exist by then, and their stacks count as memory.
            connection.sendall(b"GET /api/health/live HTTP/1.0\r\n\r\n")
            connection.recv(65536)
        jpeg = _jpeg()
        head = b"POST /api/captions HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
        chunk = b"%x\r\n" % len(jpeg) + jpeg + b"\r\n0\r\n\r\n"
        self._requests = (
            b"GET /api/captions?page=1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            head + b"Content-Length: %d\r\n\r\n" % len(jpeg) + jpeg,
            head + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n" + chunk,
            b"DELETE /api/captions/" + b"0" * 32 + b" HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n",
        )

    def case(self, rng: Random) -> str:
        payload = b"".join(rng.choice(self._requests) for _ in range(rng.choice((1, 1, 1, 2))))
        payload = mutate_bytes(payload, self._requests, rng, max_changes=3)
        with socket.create_connection(self._address, timeout=_SECONDS) as connection:
            try:
                connection.sendall(payload)
                connection.shutdown(socket.SHUT_WR)
                response = b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionError:
                return "closed"
        while response.startswith(b"HTTP/1.1 100 "):
            response = response.partition(b"\r\n\r\n")[2]
        if not response:
            return "closed"  # the server waited for more, and the connection ended
        head, _, body = response.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = body[: int(headers.get("Content-Length", len(body)))]
        check(int(status.split()[1]), headers, body, "HEAD" if b"HEAD" in payload else "GET")
        return status.split()[1]


def check(status: int, headers: dict[str, str], body: bytes, method: str) -> None:
    """Raise Find for an answer that no request may get."""
    if status in (500, 502, 504) or status not in list(HTTPStatus):
        raise WrongResult(f"answered {status}: {body[:500]!r}")
    if headers.get("X-Content-Type-Options") != "nosniff":
        raise WrongResult(f"answered {status} without security headers: {headers}")
    if status >= 400 and method != "HEAD":
        if headers.get("Content-Type") != MEDIA_TYPE:
            raise WrongResult(f"answered {status} as {headers.get('Content-Type')}: {body[:500]!r}")
        problem = json.loads(body)
        if problem["status"] != status or not problem["detail"].endswith("."):
            raise WrongResult(f"answered {status} with {problem}")


def make_app() -> Any:
    torch.set_num_threads(1)
    home = Path(tempfile.mkdtemp(prefix="fuzz-"))
    settings = Settings(home=home, port=0, admin_token=TOKEN, log_level="error", max_upload_mb=2, history=50)
    return create_app(settings, Captioner(tiny_bundle(), "cpu", "exact"))


def _make_url(rule: str, caption_id: str, rng: Random) -> str:
    """Return a route with odd values, or the one existing caption, in its variable parts."""
    parts = []
    for part in rule.split("/"):
        if "<" in part:
            value = caption_id if rng.random() < 0.4 else rng.choice(_IDS)
            part = quote(value, safe="%") + part.partition(">")[2]
        parts.append(part)
    path = "/".join(parts)
    if rng.random() < 0.1:
        path = quote(mutate_bytes(path.encode(), (), rng), safe="/%")
    return "/" + path.lstrip("/") + (rng.choice(_QUERIES) if rng.random() < 0.5 else "")


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(buffer, "JPEG")
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("captions.csv", "image,caption\na.jpg,a dog\n")
        archive.writestr("a.jpg", _jpeg())
    return buffer.getvalue()
