"""A connection of the web server: requests as they arrive, and answers that the app does not give itself."""

import copy
import errno
import logging
import os
import shutil
import socket
import tempfile
import time

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error

from captioner.errors import is_full_disk
from service.http.auth import Guard, TokenMissing, takes_large_body
from service.http.headers import API_POLICY, HEADERS
from service.http.slowness import is_too_slow

log = logging.getLogger(__name__)

IDLE_SECONDS = 60
"""After which a connection is closed if nothing happens on it, or if its client reads nothing of its answer."""
LINGER_SECONDS = 5
"""For which a refused client may go on sending; closed at once, it might never see its answer."""
_MOST_UNREAD = 1_000_000
"""Bytes of unread answers beyond which a client's next request waits."""
_FORM_BYTES = 1_000_000
"""What a form adds to the file in it."""
BODY_PER_UPLOAD = 4
"""The app refuses a body above the largest upload, in its own words; the server one so many times as large."""

_SENTENCES = {
    400: "This is no HTTP request that the service understands ({reason}): use an HTTP client to make it",
    408: "The request comes too slowly, and was given up: send it again over a faster line",
    413: "The request is far larger than {largest}, the largest that is read: send a smaller one",
    431: "The headers of the request are larger than {max_header_kb} KB: send fewer or shorter ones",
    500: "The service failed at this request, and its log says why: that is not your fault",
    507: "The service's disk is too full for this, and nothing of it was kept: tell who runs it, or send less",
    501: "The service does not know this Transfer-Encoding: send the body with its Content-Length, or chunked",
}


# waitress has no option for any of what its subclasses below do: a body limit that depends on the path and the token, a
# lowest speed for requests, answers as problem documents, and a wait for slow readers that takes no thread. A proxy in
# front has some of them, but the service is also used without one.
class ConnectionAdjustments(Adjustments):
    """Waitress's, and who may send a data set of what size; without a guard nobody may."""

    guard: Guard | None = None
    max_dataset_bytes = 0


class _NoRoom(Error):
    code, reason = 507, "Insufficient Storage"


class _TooSlow(Error):
    code, reason = 408, "Request Timeout"


class _Parser(HTTPRequestParser):
    adj: ConnectionAdjustments
    peer = ""
    began = 0.0
    """On the clock of time.monotonic, when its first byte arrived."""
    unasked = False
    """Whether a large body was refused for want of the token."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if takes_large_body(self.command, self.path) and self.adj.guard is not None:
            if self.adj.guard.lets_pass(self.headers, self.peer):
                self.adj = copy.copy(self.adj)
                self.adj.max_request_body_size = self.adj.max_dataset_bytes + _FORM_BYTES
            else:
                self.unasked = True

    def received(self, data: bytes) -> int:
        try:
            consumed = super().received(data)
            in_file = self.content_length > self.adj.inbuf_overflow
            if in_file and not self.body_bytes_received and self.error is None:  # told before it is sent
                if self.content_length > shutil.disk_usage(tempfile.gettempdir()).free:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not is_full_disk(error):
                raise
            log.error("The disk is full while a request arrives", exc_info=error)
            self.error, self.completed, consumed = _NoRoom(error.strerror), True, len(data)
        if self.error is not None:
            self.expect_continue = False  # who asks first whether to send a body is told no, not to go on
        return consumed


class _Task(WSGITask):
    def build_response_header(self) -> bytes:
        # Near the end, clients are told not to send another request on this connection. Those sent already are served.
        if self.channel.server.refusing and len(self.channel.requests) == 1:
            self.request.headers["CONNECTION"] = "close"
        return super().build_response_header()


class _ProblemTask(ErrorTask):
    """Answers what waitress itself refuses, or the app's crash, with a problem document as the app's problems are."""

    def execute(self) -> None:
        # Here, since it waits for torch: the app has it already.
        from service.errors import MEDIA_TYPE, Problem, problem_of

        error = self.request.error
        adjustments = self.channel.adj
        detail = _SENTENCES[error.code].format(
            reason=str(error.body).rstrip(".")[:200],
            largest=_largest(self.request) if error.code == 413 else None,
            max_header_kb=adjustments.max_request_header_size // 1024,
        )
        problem = Problem(error.code, f"{detail}.")
        if error.code == 413 and self.request.unasked:
            problem = problem_of(TokenMissing())
        body = problem.json().encode()
        self.status = f"{problem.document.status} {problem.document.title}"
        self.response_headers += [
            *problem.headers.items(),
            ("Content-Type", MEDIA_TYPE),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", API_POLICY),
            *HEADERS.items(),
        ]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.channel.refused = True
        self.write(body)


def _largest(request: _Parser) -> str:
    if takes_large_body(request.command, request.path):
        return f"a data set of {request.adj.max_dataset_bytes // 1_000_000} MB"
    return f"a photo of {request.adj.max_request_body_size // BODY_PER_UPLOAD // 1_000_000} MB"


class Channel(HTTPChannel):
    """One client's connection."""

    task_class = _Task
    error_task_class = _ProblemTask
    refused = False
    _linger_until: float | None = None
    _postponed = False
    """Whether the next request waits until the client has read more of the answers before it."""
    _is_writing = False
    _sent, _sent_before = 0, -1
    """Bytes in all, and when `end_if_unread` last saw them change."""
    _unread_since = 0.0

    def parser_class(self, adj: ConnectionAdjustments) -> _Parser:
        """Called by waitress for each request."""
        parser = _Parser(adj)
        parser.peer, parser.began = str(self.addr[0]), time.monotonic()
        return parser

    @property
    def is_idle(self) -> bool:
        """No request of this client has arrived whole and waits for the rest of its answer."""
        # In this order: a request leaves the list only when its whole answer is in the buffers.
        return not self.requests and not self.total_outbufs_len

    def end_if_slow(self) -> None:
        """Answer what has not arrived in a time in which an honest client's request would have."""
        with self.requests_lock:
            request = self.request
            if request is None or self.will_close or self.close_when_flushed:
                return
            if self.requests:  # nothing more is read before these are answered: that is no fault of the client's
                request.began = time.monotonic()
                return
            received = request.header_bytes_received + request.body_bytes_received
            if not is_too_slow(time.monotonic() - request.began, received, request.headers_finished):
                return
            if not request.headers_finished:
                request.parse_header(b"GET / HTTP/1.0\r\n")  # the answer asks what was asked for
            request.error, request.completed = _TooSlow("too slow"), True
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)

    def end_if_unread(self) -> None:
        """Close a connection whose client has read nothing of its answer for long."""
        now = time.monotonic()
        if not self.total_outbufs_len or self._sent != self._sent_before:
            self._sent_before, self._unread_since = self._sent, now
        elif now - self._unread_since > IDLE_SECONDS:
            self.handle_close()

    def send(self, data: bytes, do_close: bool = True) -> int:
        sent = super().send(data, do_close)
        self._sent += sent
        return sent

    def service(self) -> None:
        """Answer the next request, unless much is unread yet: that would keep a thread waiting for the client."""
        with self.outbuf_lock:
            self._postponed = self.connected and self.total_outbufs_len > _MOST_UNREAD
        if not self._postponed:
            super().service()

    def write_soon(self, data: bytes) -> int:
        self._is_writing = True
        try:
            return super().write_soon(data)
        finally:
            self._is_writing = False

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Wait for the client within an answer only; between two of them, `service` postpones the next."""
        if self._is_writing:
            super()._flush_outbufs_below_high_watermark()

    def handle_close(self) -> None:
        super().handle_close()
        self._resume()  # frees the data of its requests

    def _resume(self) -> None:
        if self._postponed and self.total_outbufs_len <= _MOST_UNREAD:
            self._postponed = False
            self.server.add_task(self)

    def readable(self) -> bool:
        return self._linger_until is not None or super().readable()

    def handle_write(self) -> None:
        if self.refused and self.close_when_flushed and not self.will_close:
            self._flush_exception(self._flush_some)
            if self.connected and not self.will_close and not self.total_outbufs_len:
                self._linger()
            elif self.will_close:
                self.handle_close()
        else:
            super().handle_write()
            self._resume()

    def handle_read(self) -> None:
        if self._linger_until is None:
            super().handle_read()
        elif not self.recv(self.adj.recv_bytes) or time.monotonic() > self._linger_until:
            self.handle_close()

    def _linger(self) -> None:
        """Say that nothing follows, and throw away what the client still sends.

        Where unread data is left, closing a connection resets it, and the answer may be lost on its way.
        """
        self.close_when_flushed = False
        self._linger_until = time.monotonic() + LINGER_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has left
            self.handle_close()
