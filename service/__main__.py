"""Command line of the service: serve, run a training worker, manage model versions."""

import argparse
import contextlib
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from captioner.commands.collector import paused_collector
from captioner.commands.extras import needs_extra
from captioner.errors import CaptionerError, ConfigError

if TYPE_CHECKING:  # commands import the rest of the package, which needs an extra
    from service.settings import Settings
    from service.store.versions import Versions

BAD_INPUT = 2
INTERRUPTED = 130
"""Exit statuses; INTERRUPTED is how a shell reports SIGINT."""

DESCRIPTION = """\
Caption photos in the browser and over HTTP. The URL is printed when the service is ready.
SIGTERM or Ctrl-C stops it after the requests in progress; a second one ends it at once."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command -> exit status: 0, 2 for an error that the user can fix, 130 if interrupted during the start."""
    try:
        with needs_extra("service"):
            options = vars(_parser().parse_args(arguments))
            run = options.pop("run")
            # Until the service is ready, SIGTERM ends it like Ctrl-C: process 1 of a container ignores it by default.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            run(options)
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    from service.settings import descriptions

    settings = "\n".join(
        f"  {name}\n{textwrap.indent(textwrap.fill(text, 100), ' ' * 6)}" for name, text in descriptions().items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m service",
        description=DESCRIPTION,
        epilog=f"All settings are environment variables. The options above override them.\n\n{settings}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 lets other machines connect")
    parser.add_argument("--port", help="port to listen on; 0 picks a free one")
    parser.add_argument(
        "--bundle", metavar="DIR", help="captioner to serve until you promote another; default: the one that ships"
    )
    parser.set_defaults(run=_serve)
    commands = parser.add_subparsers(metavar="worker | models", title="instead of serving")

    worker = commands.add_parser("worker", help="run queued trainings, on this or another machine")
    worker.set_defaults(run=_run_worker)

    models = commands.add_parser("models", help="list, promote or roll back captioners and translators")
    actions = models.add_subparsers(required=True, metavar="list | promote | rollback")
    actions.add_parser("list", help="list all versions, newest first").set_defaults(run=_list_models)
    promote = actions.add_parser("promote", help="use a version; a running service switches within seconds")
    promote.add_argument("version", help="version id, as printed by list")
    promote.set_defaults(run=_promote)
    rollback = actions.add_parser("rollback", help="return to the previous captioner or translator")
    rollback.add_argument("--language", default="", help="of a translator. Default: roll back the captioner.")
    rollback.set_defaults(run=_roll_back)
    return parser


def _serve(options: dict[str, Any]) -> None:
    """Load the captioner and serve until a signal. Raises CaptionerError if the service cannot start."""
    from service.access.auth import admin_token
    from service.http.addresses import bind, is_loopback_only
    from service.http.server import CONNECTIONS, Server, stop_on_signals
    from service.settings import Settings

    settings = Settings.read(**options)
    _configure_logging(settings)
    # Waitress warns of every request that waits for a thread; here they wait by design.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    settings.make_home()

    with contextlib.ExitStack() as resources:
        # Bound before the captioner is loaded, which takes seconds; connections are refused until the server listens.
        sockets = [resources.enter_context(sock) for sock in bind(settings.host, settings.port)]
        if settings.admin_token is None and not is_loopback_only(sockets):
            raise ConfigError(
                f"other machines can reach {settings.host}, so a generated token is not safe enough: set"
                " CAPTIONER_ADMIN_TOKEN to a secret of 16 characters or more, or listen on 127.0.0.1"
            )
        token, is_generated = admin_token(settings)
        allow_open_files(4 * CONNECTIONS)  # each connection may need up to three files
        with paused_collector():
            _prepare_torch(settings)

            from service.app import create_app
            from service.jobs.worker import WorkerProcess

            app = create_app(settings)
        service = app.extensions["captioner"]
        resources.callback(service.close)
        if settings.worker == "own":
            resources.callback(WorkerProcess(settings).close)
        server = Server(app, settings, service.mark_stopping, sockets, app.extensions["guard"])
        stop_on_signals(server)
        print(f"Captioner is ready: {server.url}", flush=True)
        if is_generated:
            # Browsers do not send the part after #, so no log on the way contains the token.
            print(f"To retrain, switch and delete: {server.url}/retrain#token={token}", flush=True)
        server.run()


def _run_worker(options: dict[str, Any]) -> None:
    from service.jobs.worker import work_until_stopped
    from service.settings import Settings

    settings = Settings.read(**options)
    _configure_logging(settings)
    work_until_stopped(settings)


def _list_models(options: dict[str, Any]) -> None:
    versions = _open_versions(options)
    current = {versions.current.id, *(version.id for version in versions.current_translators().values())}
    for version in versions.all():
        facts = version.facts
        created_at = facts.get("created_at", "")[:16].replace("T", " ")
        scores = (facts.get("scores") or {}).get("data")
        metric, decimals = ("BLEU", 1) if version.language else ("CIDEr", 3)
        score = f"{metric} {scores['new'][metric]:.{decimals}f}" if scores else ""
        if scores and scores["old"]:
            score += f", previous {scores['old'][metric]:.{decimals}f}"
        name = f"{facts['name']}  {facts['source']}-{version.language}" if version.language else facts["name"]
        mark = "*" if version.id in current else " "
        print(f"{mark} {version.id:12}  {created_at:16}  {facts['origin']:8}  {name}  {score}".rstrip())


def _promote(options: dict[str, Any]) -> None:
    from service.store.fingerprint import identify

    version = options.pop("version")
    versions = _open_versions(options)
    identify(versions.get(version).bundle)  # a broken version must not become current
    print(f"{versions.promote(version).id} is now in use")


def _roll_back(options: dict[str, Any]) -> None:
    language = options.pop("language")
    version = _open_versions(options).rollback(language)
    print(f"{version.id if version else f'the built-in translator to {language}, if any,'} is now in use")


def _open_versions(options: dict[str, Any]) -> "Versions":
    from service.settings import Settings
    from service.store.database import Database
    from service.store.versions import Versions

    settings = Settings.read(**options)
    settings.make_home()
    return Versions(Database(settings.database, settings.home), settings.home, settings.built_in_bundle)


def _configure_logging(settings: "Settings") -> None:
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def allow_open_files(count: int) -> None:
    """Raise the limit of open files to `count`, or as far as allowed; some systems start with 256."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if resource.RLIM_INFINITY != soft < count:
        new_soft = count if hard == resource.RLIM_INFINITY else min(count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (new_soft, hard))


def _prepare_torch(settings: "Settings") -> None:
    # Torch has two thread pools. A pool that waits by spinning takes cores from the other.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    import torch

    from captioner.model.allocator import LARGE_BLOCK, keep_freed_memory

    keep_freed_memory(smaller_than=LARGE_BLOCK)
    torch.set_num_threads(settings.threads)


if __name__ == "__main__":
    sys.exit(main())
