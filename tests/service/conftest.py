"""A real server on a free port with a captioner of random weights."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from captioner.captioner import Captioner
from service.settings import Settings
from service.store.database import Database
from tests.support.pictures import picture_bytes
from tests.support.servers import PostgreSQL, postgresql_server, redis_server
from tests.support.serving import Running, serving

GATE_SECONDS = 60


@pytest.fixture(scope="session")
def one_postgresql() -> Iterator[PostgreSQL]:
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql(one_postgresql) -> Iterator[str]:
    """The URL of an empty database of a real PostgreSQL."""
    with one_postgresql.database() as address:
        yield address


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def database_settings(request) -> dict[str, str]:
    """Database settings; a test that uses this fixture runs once with each kind of database."""
    return {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgresql")}


@pytest.fixture
def open_database(database_settings, tmp_path) -> Iterator[Callable[[], Database]]:
    """Open the database of a home; each call acts like another process."""
    settings = Settings(home=tmp_path / "home", **database_settings)
    settings.make_home()
    with contextlib.ExitStack() as opened:

        def open_it() -> Database:
            return opened.enter_context(contextlib.closing(Database(settings.database, settings.home)))

        yield open_it


@pytest.fixture
def database(open_database) -> Database:
    return open_database()


@pytest.fixture
def redis(tmp_path) -> Iterator[str]:
    with redis_server(tmp_path) as url:
        yield url


@pytest.fixture
def start(tiny_bundle, tmp_path) -> Iterator[Callable[..., Running]]:
    """Start a service; arguments replace its settings or its captioner."""
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


@pytest.fixture
def gate(monkeypatch) -> Iterator[threading.Event]:
    """The model starts captioning once this is set."""
    opened, encode = threading.Event(), Captioner.encode

    def encode_later(self, pixels):
        assert opened.wait(GATE_SECONDS)
        return encode(self, pixels)

    opened.set()  # for the warm-up
    monkeypatch.setattr(Captioner, "encode", encode_later)
    yield opened
    opened.set()


@pytest.fixture
def no_settings(monkeypatch) -> None:
    """Remove all settings from the environment."""
    for name in list(os.environ):
        if name.upper().startswith("CAPTIONER_"):
            monkeypatch.delenv(name)
