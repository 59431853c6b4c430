"""Connections of the web server: limits on incoming requests, and error responses outside the app."""

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
from service.access.auth import Guard, TokenMissing, takes_large_body
from service.http.headers import API_POLICY, HEADERS
from service.http.slowness import is_too_slow

log = logging.getLogger(__name__)

IDLE_SECONDS = 60
"""Idle time after which a connection is closed; also the time for a client to read some of its response."""
LINGER_SECONDS = 5
"""Time during which data from a refused client is discarded; closing at once could lose the response."""
_MAX_UNREAD_BYTES = 1_000_000
"""Maximum bytes of unread responses; beyond it, the client's next request waits."""
_FORM_BYTES = 1_000_000
"""Allowance for the form fields around an uploaded file, in bytes."""
BODY_PER_UPLOAD = 4
"""The server's body limit as a multiple of the largest upload. Below it, the app refuses with its own message."""

_MESSAGES = {
    400: "The service cannot parse this as an HTTP request ({reason}): send it with an HTTP client",
    408: "The request arrived too slowly and was cancelled: send it again over a faster connection",
    413: "The request is far larger than the limit of {largest}: send a smaller one",
    431: "The headers of the request are larger than {max_header_kb} KB: send fewer or shorter ones",
    500: "The service failed to handle this request: tell its operator, who finds the cause in its log",
    507: "The service has too little disk space, and nothing was stored: tell its operator, or send less",
    501: "The Transfer-Encoding is not supported: send the body with a Content-Length, or chunked",
}


# waitress has no option for any of what its subclasses below do: a body limit that depends on the path and the token, a
# lowest speed for requests, answers as problem documents, and a wait for slow readers that takes no thread. A proxy in
# front has some of them, but the service is also used without one.
class ConnectionAdjustments(Adjustments):
    """Waitress's adjustments, and the limits on data sets. Without a guard, data sets are refused."""

    guard: Guard | None = None
    max_dataset_bytes = 0


class _DiskFull(Error):
    code, reason = 507, "Insufficient Storage"


class _TooSlow(Error):
    code, reason = 408, "Request Timeout"


class _Parser(HTTPRequestParser):
    adj: ConnectionAdjustments
    peer = ""
    started_at = 0.0
    """Arrival of the first byte, by time.monotonic."""
    is_unauthorized = False
    """Whether a large body is refused because the token is missing or wrong."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if takes_large_body(self.command, self.path) and self.adj.guard is not None:
            if self.adj.guard.allows(self.headers, self.peer):
                self.adj = copy.copy(self.adj)
                self.adj.max_request_body_size = self.adj.max_dataset_bytes + _FORM_BYTES
            else:
                self.is_unauthorized = True

    def received(self, data: bytes) -> int:
        try:
            consumed = super().received(data)
            in_file = self.content_length > self.adj.inbuf_overflow
            if in_file and not self.body_bytes_received and self.error is None:  # before the body is sent
                if self.content_length > shutil.disk_usage(tempfile.gettempdir()).free:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not is_full_disk(error):
                raise
            log.error("The disk is full: a request could not be received", exc_info=error)
            self.error, self.completed, consumed = _DiskFull(error.strerror), True, len(data)
        if self.error is not None:
            self.expect_continue = False  # Expect: 100-continue gets the error at once
        return consumed


class _Task(WSGITask):
    def build_response_header(self) -> bytes:
        # During shutdown, tell the client to send no more requests on this connection. Received ones are served.
        if self.channel.server.refusing and len(self.channel.requests) == 1:
            self.request.headers["CONNECTION"] = "close"
        return super().build_response_header()


class _ProblemTask(ErrorTask):
    """Answers requests that waitress refuses, and crashes of the app, with a problem document."""

    def execute(self) -> None:
        # Imported late: it imports torch, which the app has loaded by now.
        from service.errors import MEDIA_TYPE, Problem, problem_of

        error = self.request.error
        adjustments = self.channel.adj
        detail = _MESSAGES[error.code].format(
            reason=str(error.body).rstrip(".")[:200],
            largest=_describe_limit(self.request) if error.code == 413 else None,
            max_header_kb=adjustments.max_request_header_size // 1024,
        )
        problem = Problem(error.code, f"{detail}.")
        if error.code == 413 and self.request.is_unauthorized:
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


def _describe_limit(request: _Parser) -> str:
    if takes_large_body(request.command, request.path):
        return f"a data set of {request.adj.max_dataset_bytes // 1_000_000} MB"
    return f"a photo of {request.adj.max_request_body_size // BODY_PER_UPLOAD // 1_000_000} MB"


class Channel(HTTPChannel):
    """Connection of one client."""

    task_class = _Task
    error_task_class = _ProblemTask
    refused = False
    _linger_until: float | None = None
    _postponed = False
    """Whether the next request waits until the client has read more of the previous responses."""
    _is_writing = False
    _bytes_sent, _bytes_sent_before = 0, -1
    """Bytes sent in total, and their number at the last check by `end_if_unread`."""
    _unread_since = 0.0

    def parser_class(self, adj: ConnectionAdjustments) -> _Parser:
        """Create the parser of a request; called by waitress."""
        parser = _Parser(adj)
        parser.peer, parser.started_at = str(self.addr[0]), time.monotonic()
        return parser

    @property
    def is_idle(self) -> bool:
        """Return whether no complete request is waiting for its response or for the rest of it."""
        # The order matters: a request leaves the list only once its whole response is buffered.
        return not self.requests and not self.total_outbufs_len

    def end_if_slow(self) -> None:
        """Answer 408 if the current request arrives too slowly."""
        with self.requests_lock:
            request = self.request
            if request is None or self.will_close or self.close_when_flushed:
                return
            if self.requests:  # reading pauses until these are answered, so restart the clock
                request.started_at = time.monotonic()
                return
            received = request.header_bytes_received + request.body_bytes_received
            if not is_too_slow(time.monotonic() - request.started_at, received, request.headers_finished):
                return
            if not request.headers_finished:
                request.parse_header(b"GET / HTTP/1.0\r\n")  # the error response needs a method and a path
            request.error, request.completed = _TooSlow("too slow"), True
            self.request = None
            self.requests.append(request)
            self.server.add_task(self)

    def end_if_unread(self) -> None:
        """Close the connection if its client has read none of its response for IDLE_SECONDS."""
        now = time.monotonic()
        if not self.total_outbufs_len or self._bytes_sent != self._bytes_sent_before:
            self._bytes_sent_before, self._unread_since = self._bytes_sent, now
        elif now - self._unread_since > IDLE_SECONDS:
            self.handle_close()

    def send(self, data: bytes, do_close: bool = True) -> int:
        count = super().send(data, do_close)
        self._bytes_sent += count
        return count

    def service(self) -> None:
        """Answer the next request, unless many bytes are unread: a thread would block on the client."""
        with self.outbuf_lock:
            self._postponed = self.connected and self.total_outbufs_len > _MAX_UNREAD_BYTES
        if not self._postponed:
            super().service()

    def write_soon(self, data: bytes) -> int:
        self._is_writing = True
        try:
            return super().write_soon(data)
        finally:
            self._is_writing = False

    def _flush_outbufs_below_high_watermark(self) -> None:
        """Block only while writing a response; between responses, `service` postpones the next request."""
        if self._is_writing:
            super()._flush_outbufs_below_high_watermark()

    def handle_close(self) -> None:
        super().handle_close()
        self._resume()  # frees the data of its requests

    def _resume(self) -> None:
        if self._postponed and self.total_outbufs_len <= _MAX_UNREAD_BYTES:
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
        """Shut down the sending side, and discard incoming data for LINGER_SECONDS.

        Closing a connection with unread data resets it, and the client may lose the response.
        """
        self.close_when_flushed = False
        self._linger_until = time.monotonic() + LINGER_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:  # the client has disconnected
            self.handle_close()
