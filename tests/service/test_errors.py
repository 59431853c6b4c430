"""Internal errors are answered as problem documents and logged for operators."""

import errno

import pytest
from sqlalchemy.exc import OperationalError


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
