"""The web server: waitress with problem documents for its errors and a graceful shutdown."""

import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from wsgiref.types import WSGIApplication

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from service.access.auth import Guard
from service.http.addresses import bind, bind_error, url_of
from service.http.connections import BODY_PER_UPLOAD, IDLE_SECONDS, Channel, ConnectionAdjustments
from service.http.pools import Pools, pool_sizes
from service.settings import Settings

log = logging.getLogger(__name__)

CONNECTIONS = 1000
"""Maximum number of open connections. Near it, the longest idle ones are closed."""
SPARE_CONNECTIONS = 10
"""Number of free connections below which idle ones are closed."""
CLEANUP_SECONDS = 5
"""Time between two checks for idle or slow connections."""
GRACE_SECONDS = 5
"""Extra time after the deadline of a photo to send responses during shutdown."""
MAX_HEADER_BYTES = 64 * 1024

# Limits the delay of a signal that arrives just before poll.
_POLL_SECONDS = 0.2


# No existing server (waitress, cheroot, gunicorn, an ASGI server with a bridge) has all of this: one process, as
# the model is in its memory; a thread pool for each kind of request; a shutdown that answers every request that has
# arrived; and idle connections that are closed before new ones are refused.
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
        """Listen for connections; `run` answers them.

        on_stop: called when the shutdown begins. sockets: from `bind`, by default for the settings' address.
        guard: checks tokens of data set uploads; without it they are refused.
        Raises ConfigError as `bind` does.
        """
        self._settings, self._on_stop = settings, on_stop
        sockets = bind(settings.host, settings.port) if sockets is None else sockets
        self.url = url_of(settings.host, sockets[0].getsockname()[1])
        self._adjustments = ConnectionAdjustments(
            sockets=sockets,
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
        self._pools = Pools(pool_sizes(settings))
        self._map: dict[int, wasyncore.dispatcher] = {}
        self._stopping = False
        try:
            self._listeners = [_Listener(app, self._map, sock, self._pools, self._adjustments) for sock in sockets]
        except OSError as error:  # another process can bind the same address and listen first
            wasyncore.close_all(self._map)
            for sock in sockets:
                sock.close()
            raise bind_error(settings.host, settings.port, error) from error

    def run(self) -> None:
        """Answer requests until `stop`, then finish the received ones; return when their responses are sent.

        Requests that take longer than the settings' deadline plus GRACE_SECONDS are dropped.
        """
        self._pools.start()
        deadline = time.monotonic()
        try:
            checked_at = deadline
            while not self._stopping:
                self._poll(_POLL_SECONDS)
                if time.monotonic() - checked_at > CLEANUP_SECONDS:
                    checked_at = time.monotonic()
                    for channel in self._channels():
                        channel.end_if_unread()
            deadline = time.monotonic() + self._settings.deadline_seconds + GRACE_SECONDS
            self._on_stop()
            self._drain(deadline)
        finally:
            self._close(deadline)

    def stop(self) -> None:
        """Make `run` return. Callable at any time, from any thread and from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):  # the server has already ended
            self._listeners[0].pull_trigger()

    def _poll(self, seconds: float) -> None:
        wasyncore.loop(seconds, use_poll=True, map=self._map, count=1)

    def _channels(self) -> "list[Channel]":
        return [channel for channel in self._map.values() if isinstance(channel, Channel)]

    def _drain(self, deadline: float) -> None:
        """Refuse new connections, close idle ones, and answer all others until `deadline`."""
        for listener in self._listeners:
            listener.refuse()
        seconds = 0.0  # first read received data, which may complete a request
        while time.monotonic() < deadline:
            self._poll(seconds)
            for channel in self._channels():
                if channel.is_idle:
                    channel.handle_close()
            if not self._channels():
                return
            seconds = _POLL_SECONDS
        log.warning("%d clients did not get their whole response in time", len(self._channels()))

    def _close(self, deadline: float) -> None:
        """Close all connections and sockets. Threads may finish their work until `deadline`."""
        for listener in self._listeners:
            if listener.socket is not None:
                listener.refuse()
        for channel in self._channels():
            channel.handle_close()  # wakes a thread that is blocked on sending
        if self._pools.shutdown(max(1.0, deadline - time.monotonic())):
            # A thread still running would write to a reused file descriptor.
            for listener in self._listeners:
                listener.trigger.close()


def stop_on_signals(server: Server) -> None:
    """Stop the server on SIGTERM or SIGINT; a second signal ends the process at once. For the main thread only."""

    def stop(number: int, frame: object) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            # Not SIG_DFL: the kernel ignores it for process 1 of a container.
            signal.signal(signal_number, lambda number, frame: os._exit(128 + number))
        server.stop()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, stop)


class _Listener(TcpWSGIServer):
    """Listening socket for one address."""

    channel_class = Channel
    refusing = False

    def __init__(
        self,
        app: WSGIApplication,
        map: dict[int, wasyncore.dispatcher],
        sock: socket.socket,
        pools: Pools,
        adjustments: Adjustments,
    ) -> None:
        sockinfo = (sock.family, sock.type, sock.proto, sock.getsockname())
        super().__init__(app, map, _sock=sock, dispatcher=pools, adj=adjustments, sockinfo=sockinfo, bind_socket=False)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.end_if_slow()

    def handle_accept(self) -> None:
        super().handle_accept()
        if len(self._map) > self.adj.connection_limit - SPARE_CONNECTIONS:
            self._make_room()

    def _make_room(self) -> None:
        """Close the connection with the oldest activity among those that are idle or still sending a request."""
        channels = [channel for channel in self._map.values() if isinstance(channel, Channel) and channel.is_idle]
        if idle := [channel for channel in channels if not channel.will_close]:
            min(idle, key=lambda channel: channel.last_activity).will_close = True

    def refuse(self) -> None:
        """Accept pending connections, then stop listening."""
        self.refusing = True
        open_before = -1
        while open_before < len(self.active_channels) < CONNECTIONS:
            open_before = len(self.active_channels)
            self.handle_accept()
        # Not self.close(): it also closes the trigger, which threads use to signal their responses.
        wasyncore.dispatcher.close(self)
