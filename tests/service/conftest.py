"""The service as its users meet it: a real server on a free port, with a captioner of random weights."""

import contextlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from captioner.captioner import Captioner
from service.settings import Settings
from tests.service.pictures import picture_bytes
from tests.service.serving import Running, serving


@pytest.fixture
def start(tiny_bundle, tmp_path) -> Iterator[Callable[..., Running]]:
    """Start a service; what is given replaces its settings, or its captioner."""
    with contextlib.ExitStack() as services:

        def start_service(captioner: Captioner | None = None, **changes) -> Running:
            settings = Settings(**({"home": tmp_path / "home", "port": 0} | changes))
            return services.enter_context(serving(settings, captioner or Captioner(tiny_bundle, "cpu")))

        yield start_service


@pytest.fixture
def running(start) -> Running:
    return start()


@pytest.fixture
def client(running) -> httpx.Client:
    return running.client


@pytest.fixture
def jpeg() -> bytes:
    return picture_bytes()
