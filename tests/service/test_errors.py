"""Internal errors are answered as problem documents and logged for operators."""

import errno

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import NotFound

from captioner.errors import CaptionerError, ImageError, ImageTooLarge, NotAnImage, TextError
from service.access.auth import TokenMissing, TokenWrong, TooManyFailures
from service.access.origins import ForeignOrigin, UntrustedHost
from service.access.rates import RateLimitExceeded
from service.errors import Problem, problem_of
from service.inference.batching import QueueFull
from service.store.bounded_lock import TooManyWaiting, WaitTimeout
from service.store.disk import StorageFull
from service.store.versions import UnknownVersion, VersionInUse


@pytest.fixture
def app_context():
    """A request, for messages that name its limits."""
    with Flask(__name__).test_request_context():
        yield


def post(client, data):
    return client.post("/api/captions", content=data, headers={"Content-Type": "image/jpeg"})


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    "error, status, message",
    [
        (OSError(errno.ENOSPC, "No space left on device"), 507, "disk is full"),
        (OSError(errno.EIO, "Input/output error"), 500, "its log"),
        (OperationalError("INSERT", {}, Exception("database is locked")), 503, "database"),
        (RuntimeError("secret"), 500, "its log"),
    ],
)
@pytest.mark.parametrize("where", ["photos.save", "store.add"])
def test_an_internal_error_is_a_problem_without_details(
    running, jpeg, monkeypatch, caplog, where, error, status, message
):
    attribute, name = where.split(".")
    with monkeypatch.context() as patch:
        patch.setattr(getattr(running.service, attribute), name, failing(error))
        response = post(running.client, jpeg)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert message in response.json()["detail"] and "secret" not in response.text
    assert str(error) in caplog.text
    assert not list(running.service.settings.photos_folder.iterdir()), "no photo is left of a failed request"
    assert post(running.client, jpeg).status_code == 201


def test_a_crash_of_a_route_is_a_problem(running, monkeypatch):
    monkeypatch.setattr(running.service.store, "page", failing(RuntimeError("secret")))
    response = running.client.get("/api/captions")
    assert response.status_code == 500 and response.json()["status"] == 500 and "secret" not in response.text


@pytest.mark.parametrize(
    "error, status, detail, seconds",
    [
        (UntrustedHost("the host"), 400, "The host.", None),
        (TokenMissing(), 401, "Send the service's token", None),
        (TokenWrong(), 401, "This is not the token", None),
        (ForeignOrigin("a page"), 403, "A page.", None),
        (UnknownVersion("no such version"), 404, "No such version.", None),
        (VersionInUse("it is in use"), 409, "It is in use.", None),
        (ImageTooLarge("it is large"), 413, "It is large.", None),
        (NotAnImage("a text"), 415, "A text.", None),
        (ImageError("damaged"), 422, "Damaged.", None),
        (TextError("empty"), 422, "Empty.", None),
        (TooManyFailures(1), 429, "Too many wrong tokens came from your address: wait 1 second.", 1),
        (RateLimitExceeded(9), 429, "wait 9 seconds, and send fewer per minute.", 9),
        (QueueFull(), 503, "Too many photos are waiting", 2),
        (TooManyWaiting(), 503, "Too many requests are waiting", 10),
        (WaitTimeout(), 503, "Too many requests are waiting", 10),
        (OSError(errno.EROFS, "Read-only file system"), 503, "cannot write to its disk", 60),
        (StorageFull("full"), 507, "Full.", None),
        (Problem(418, "a teapot"), 418, "A teapot", None),
        (NotFound(), 404, "This URL does not exist", None),
        (CaptionerError("of no kind"), 500, "its log", None),
    ],
)
def test_every_kind_of_error_has_its_status_and_says_what_to_do(app_context, error, status, detail, seconds):
    document = problem_of(error).document
    assert (document.status, document.retry_after) == (status, seconds)
    assert detail in document.detail
