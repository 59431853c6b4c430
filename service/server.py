"""The web server: waitress, made to answer its own errors like the app's, and to finish its work before it ends."""

import contextlib
import copy
import errno
import logging
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask
from waitress.utilities import Error

from captioner.errors import is_full_disk
from service.addresses import bind, unusable, url_of
from service.protection import API_POLICY, HEADERS
from service.settings import Settings
from service.slowness import is_too_slow
from service.tokens import Guard, TokenMissing, takes_large_body

log = logging.getLogger(__name__)

CONNECTIONS = 1000
"""Open at once, at most; others wait until one of them closes."""
IDLE_SECONDS = 60
"""After which a connection on which nothing happens is closed."""
CLEANUP_SECONDS = 5
"""Between two looks for connections that are idle or too slow."""
GRACE_SECONDS = 5
"""Beyond the deadline of a photo, for answers to get through when the service ends."""
LINGER_SECONDS = 5
"""For which a refused client may go on sending; closed at once, it might never see its answer."""
SPARE_THREADS = 32
"""Beyond those that wait for the model: for health, pictures, following trainings, and telling others to come again."""
MAX_HEADER_BYTES = 64 * 1024
_FORM_BYTES = 1_000_000
"""What a form adds to the file in it."""
BODY_PER_UPLOAD = 4
"""The app refuses a body above the largest upload, in its own words; the server one so many times as large."""

# A signal that comes just before the system is asked to wait is heard only after that wait.
_POLL_SECONDS = 0.2

_SENTENCES = {
    400: "This is no HTTP request that the service understands ({reason}): use an HTTP client to make it",
    408: "The request comes too slowly, and was given up: send it again over a faster line",
    413: "The request is far larger than {largest}, the largest that is read: send a smaller one",
    431: "The headers of the request are larger than {max_header_kb} KB: send fewer or shorter ones",
    500: "The service failed at this request, and its log says why: that is not your fault",
    507: "The service's disk is too full for this, and nothing of it was kept: tell who runs it, or send less",
    501: "The service does not know this Transfer-Encoding: send the body with its Content-Length, or chunked",
}


class Server:
    """Serves a WSGI app until it is stopped."""

    def __init__(
        self,
        app: WSGIApplication,
        settings: Settings,
        on_stop: Callable[[], None] = lambda: None,
        sockets: Sequence[socket.socket] | None = None,
        guard: Guard | None = None,
    ) -> None:
        """From here on clients can connect; `run` answers them.

        `on_stop` is called when the server begins to end. `sockets`: from `bind`, by default of the settings' address.
        `guard` knows who may send data sets; without it nobody may.
        Raises ConfigError as `bind` does.
        """
        self._settings, self._on_stop = settings, on_stop
        sockets = bind(settings.host, settings.port) if sockets is None else sockets
        self.url = url_of(settings.host, sockets[0].getsockname()[1])
        self._adjustments = _Adjustments(
            sockets=sockets,
            threads=settings.queue_size + settings.batch_size + SPARE_THREADS,
            connection_limit=CONNECTIONS,
            channel_timeout=IDLE_SECONDS,
            cleanup_interval=CLEANUP_SECONDS,
            recv_bytes=64 * 1024,
            max_request_header_size=MAX_HEADER_BYTES,
            max_request_body_size=BODY_PER_UPLOAD * settings.max_upload_bytes,
            expose_tracebacks=False,
            ident="captioner",
        )
        self._adjustments.guard, self._adjustments.max_dataset_bytes = guard, settings.max_dataset_bytes
        self._dispatcher = ThreadedTaskDispatcher()
        self._map: dict[int, wasyncore.dispatcher] = {}
        self._stopping = False
        try:
            self._listeners = [_Listener(app, self._map, each, self._dispatcher, self._adjustments) for each in sockets]
        except OSError as error:  # another process may bind the same address, and listen there first
            wasyncore.close_all(self._map)
            for each in sockets:
                each.close()
            raise unusable(settings.host, settings.port, error) from error

    def run(self) -> None:
        """Answer requests until `stop`, then finish those that have arrived; returns when their answers are sent.

        Gives up what takes longer than the settings' deadline and GRACE_SECONDS.
        """
        self._dispatcher.set_thread_count(self._adjustments.threads)
        end = time.monotonic()
        try:
            while not self._stopping:
                self._poll(_POLL_SECONDS)
            end = time.monotonic() + self._settings.deadline_seconds + GRACE_SECONDS
            self._on_stop()
            self._drain(end)
        finally:
            self._close(end)

    def stop(self) -> None:
        """Let `run` end. May be called at any time, from any thread, and from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):  # it has ended already
            self._listeners[0].pull_trigger()

    def _poll(self, seconds: float) -> None:
        wasyncore.loop(seconds, use_poll=True, map=self._map, count=1)

    def _channels(self) -> "list[_Channel]":
        return [channel for channel in self._map.values() if isinstance(channel, _Channel)]

    def _drain(self, end: float) -> None:
        """Refuse new connections, close those that wait for a request, and go on until all others are answered."""
        for listener in self._listeners:
            listener.refuse()
        seconds = 0.0  # first read what has arrived: a request among it is one to answer
        while time.monotonic() < end:
            self._poll(seconds)
            for channel in self._channels():
                if channel.is_idle:
                    channel.handle_close()
            if not self._channels():
                return
            seconds = _POLL_SECONDS
        log.warning("%d clients did not get their whole answer in time", len(self._channels()))

    def _close(self, end: float) -> None:
        """Leave nothing open. Threads that work for clients who have left may finish until then."""
        for listener in self._listeners:
            if listener.socket is not None:
                listener.refuse()
        for channel in self._channels():
            channel.handle_close()  # a thread that waits to send more is told that nobody reads it
        self._dispatcher.shutdown(timeout=max(1.0, end - time.monotonic()))
        if not self._dispatcher.threads:  # a thread still at work would write to whatever had that number next
            for listener in self._listeners:
                listener.trigger.close()


def stop_on_signals(server: Server) -> None:
    """SIGTERM and SIGINT stop the server; a second one ends the process at once. For the main thread only."""

    def stop(number: int, frame: object) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            # Not the default action: the kernel does not take that for process 1 of a container.
            signal.signal(each, lambda number, frame: os._exit(128 + number))
        server.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)


class _Adjustments(Adjustments):
    guard: Guard | None = None
    max_dataset_bytes = 0


class _NoRoom(Error):
    code, reason = 507, "Insufficient Storage"


class _TooSlow(Error):
    code, reason = 408, "Request Timeout"


class _Parser(HTTPRequestParser):
    adj: _Adjustments
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
        from service.problems import MEDIA_TYPE, Problem, problem_of

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


class _Channel(HTTPChannel):
    """One client's connection."""

    task_class = _Task
    error_task_class = _ProblemTask
    refused = False
    _linger_until: float | None = None

    def parser_class(self, adj: _Adjustments) -> _Parser:
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


class _Listener(TcpWSGIServer):
    """One address that clients connect to."""

    channel_class = _Channel
    refusing = False

    def __init__(
        self,
        app: WSGIApplication,
        map: dict[int, wasyncore.dispatcher],
        bound: socket.socket,
        dispatcher: ThreadedTaskDispatcher,
        adjustments: Adjustments,
    ) -> None:
        sockinfo = (bound.family, bound.type, bound.proto, bound.getsockname())
        super().__init__(
            app, map, _sock=bound, dispatcher=dispatcher, adj=adjustments, sockinfo=sockinfo, bind_socket=False
        )

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.end_if_slow()

    def refuse(self) -> None:
        """Take those who have connected already, and nobody any more."""
        self.refusing = True
        open_before = -1
        while open_before < len(self.active_channels) < CONNECTIONS:
            open_before = len(self.active_channels)
            self.handle_accept()
        # Not self.close(): that closes the trigger, too, with which threads tell of their answers.
        wasyncore.dispatcher.close(self)
