"""The web server: waitress, made to answer its own errors like the app's, and to finish its work before it ends."""

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

from service.http.addresses import bind, unusable, url_of
from service.http.auth import Guard
from service.http.connections import BODY_PER_UPLOAD, IDLE_SECONDS, Channel, ConnectionAdjustments
from service.http.pools import Pools, pool_sizes
from service.settings import Settings

log = logging.getLogger(__name__)

CONNECTIONS = 1000
"""Open at once, at most. Before there are as many, those on which nothing has happened for longest are closed."""
ROOM = 10
"""When fewer connections than this are left, idle ones are closed to make room."""
CLEANUP_SECONDS = 5
"""Between two looks for connections that are idle or too slow."""
GRACE_SECONDS = 5
"""Beyond the deadline of a photo, for answers to get through when the service ends."""
MAX_HEADER_BYTES = 64 * 1024

# A signal that comes just before the system is asked to wait is heard only after that wait.
_POLL_SECONDS = 0.2


# What a WSGI server would need to replace this one, and neither waitress, cheroot, gunicorn nor an ASGI server with a
# bridge has in full: one process, as the model is in its memory; a pool of threads for each kind of request; an end
# that answers every request that has arrived; and idle connections closed before new ones are refused.
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
            self._listeners = [_Listener(app, self._map, each, self._pools, self._adjustments) for each in sockets]
        except OSError as error:  # another process may bind the same address, and listen there first
            wasyncore.close_all(self._map)
            for each in sockets:
                each.close()
            raise unusable(settings.host, settings.port, error) from error

    def run(self) -> None:
        """Answer requests until `stop`, then finish those that have arrived; returns when their answers are sent.

        Gives up what takes longer than the settings' deadline and GRACE_SECONDS.
        """
        self._pools.start()
        end = time.monotonic()
        try:
            looked = end
            while not self._stopping:
                self._poll(_POLL_SECONDS)
                if time.monotonic() - looked > CLEANUP_SECONDS:
                    looked = time.monotonic()
                    for channel in self._channels():
                        channel.end_if_unread()
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

    def _channels(self) -> "list[Channel]":
        return [channel for channel in self._map.values() if isinstance(channel, Channel)]

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
        if self._pools.shutdown(max(1.0, end - time.monotonic())):
            # A thread still at work would write to whatever had that number next.
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


class _Listener(TcpWSGIServer):
    """One address that clients connect to."""

    channel_class = Channel
    refusing = False

    def __init__(
        self,
        app: WSGIApplication,
        map: dict[int, wasyncore.dispatcher],
        bound: socket.socket,
        pools: Pools,
        adjustments: Adjustments,
    ) -> None:
        sockinfo = (bound.family, bound.type, bound.proto, bound.getsockname())
        super().__init__(app, map, _sock=bound, dispatcher=pools, adj=adjustments, sockinfo=sockinfo, bind_socket=False)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in list(self.active_channels.values()):
            channel.end_if_slow()

    def handle_accept(self) -> None:
        super().handle_accept()
        if len(self._map) > self.adj.connection_limit - ROOM:
            self._make_room()

    def _make_room(self) -> None:
        """Close the connection that has been idle, or in the midst of sending a request, for longest."""
        channels = [channel for channel in self._map.values() if isinstance(channel, Channel) and channel.is_idle]
        if waiting := [channel for channel in channels if not channel.will_close]:
            min(waiting, key=lambda channel: channel.last_activity).will_close = True

    def refuse(self) -> None:
        """Take those who have connected already, and nobody any more."""
        self.refusing = True
        open_before = -1
        while open_before < len(self.active_channels) < CONNECTIONS:
            open_before = len(self.active_channels)
            self.handle_accept()
        # Not self.close(): that closes the trigger, too, with which threads tell of their answers.
        wasyncore.dispatcher.close(self)
