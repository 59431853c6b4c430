"""python -m service: captions of photos over HTTP, and a page to look at them."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Sequence

from captioner.errors import CaptionerError
from service.addresses import bind
from service.server import CONNECTIONS, Server, stop_on_signals
from service.settings import Settings, descriptions

BAD_INPUT = 2
INTERRUPTED = 130
"""Exit statuses; the last as a shell reports SIGINT."""

DESCRIPTION = """\
Caption photos in the browser and over HTTP: the address is printed as soon as the service is ready.
SIGTERM or Ctrl-C lets it finish what it has begun; a second one ends it at once."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit status: 0, 2 for what a person can put right, 130 if stopped before."""
    options = _parser().parse_args(arguments)
    # Until the service is ready, SIGTERM ends it like Ctrl-C; a container's first process would else never hear of it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _serve(Settings.read(**vars(options)))
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    settings = "\n".join(
        f"  {name}\n{textwrap.indent(textwrap.fill(text, 100), ' ' * 6)}" for name, text in descriptions().items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description=DESCRIPTION,
        epilog=f"All settings are environment variables; the options above go before them.\n\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for other machines, too")
    parser.add_argument("--port", help="port to listen on; 0 takes any free one")
    parser.add_argument("--bundle", metavar="DIR", help="the captioner; by default the one that ships")
    return parser


def _serve(settings: Settings) -> None:
    """Load the captioner, answer until a signal comes, and finish. Raises CaptionerError where it cannot begin."""
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Waitress warns of every request that waits for a thread, which is what they are meant to do.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    settings.make_home()

    with contextlib.ExitStack() as opened:
        # Taken before the captioner is loaded, which takes seconds; nobody can connect until the server has them.
        sockets = [opened.enter_context(each) for each in bind(settings.host, settings.port)]
        _prepare_torch(settings)
        allow_open_files(4 * CONNECTIONS)  # a connection, and up to three files for what goes through it

        from service.app import create_app

        app = create_app(settings)
        service = app.extensions["captioner"]
        opened.callback(service.close)
        server = Server(app, settings, service.stopping, sockets)
        stop_on_signals(server)
        print(f"Captioner is ready: {server.url}", flush=True)
        server.run()


def allow_open_files(count: int) -> None:
    """Open so many at once, or as many as the system grants; some begin with 256."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count:
        granted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))


def _prepare_torch(settings: Settings) -> None:
    # Torch has two pools of threads. Where one waits by spinning, it takes the cores that the other works on.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import torch

    from captioner.allocator import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(settings.threads)


if __name__ == "__main__":
    sys.exit(main())
