"""A service in a thread of this process."""

import contextlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from flask import Flask

import captioner
from captioner.captioner import Captioner
from captioner.errors import DataError
from service.access.auth import admin_token
from service.app import create_app
from service.http.server import Server
from service.inference.captioning import CaptionService
from service.jobs.worker import WorkerProcess
from service.settings import Settings
from service.training_process import last_error
from training.__main__ import main as training_main

_printing = threading.Lock()


def run_in_process(*arguments: str | Path) -> str:
    """Run a command of `training` as `service.training_process.run` does, without the second that a process takes."""
    output, errors = io.StringIO(), io.StringIO()
    with _printing, contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        status = training_main([str(argument) for argument in arguments])
    if status:
        raise DataError(last_error(errors.getvalue()) or errors.getvalue())
    return output.getvalue()


@dataclass(frozen=True)
class Running:
    """A running service."""

    app: Flask
    client: httpx.Client
    """Its `base_url` is the page's URL. It sends the token."""

    @property
    def service(self) -> CaptionService:
        return self.app.extensions["captioner"]

    @property
    def url(self) -> str:
        return str(self.client.base_url)


@contextmanager
def serving(settings: Settings, captioner: Captioner) -> Iterator[Running]:
    """Yield a real server in a thread of this process, and stop it at the end."""
    app = create_app(settings, captioner, run_in_process)
    server = Server(app, settings, guard=app.extensions["guard"])
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        headers = {"Authorization": f"Bearer {admin_token(settings)[0]}"}
        # Without TLS there is nothing to verify, and reading the certificates takes longer than most requests.
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False, headers=headers, verify=False) as client:
            yield Running(app, client)
    finally:  # also where a test fails: its thread would keep the process alive
        server.stop()
        thread.join(60)
        app.extensions["captioner"].close()
    assert not thread.is_alive()


@contextmanager
def serving_with_worker(home: Path) -> Iterator[Running]:
    """Run the service with the shipped captioner and a worker in the context."""
    settings = Settings(home=home, port=0, device="cpu")
    with serving(settings, captioner.load(device="cpu")) as service:
        worker = WorkerProcess(settings)
        try:
            yield service
        finally:
            worker.close()
