"""Errors as RFC 9457 problem details: one shape for whatever goes wrong, with a sentence that a person can act on."""

import errno
import logging
import sqlite3
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from flask import Flask, Response, request
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from werkzeug.exceptions import HTTPException

from captioner.counting import counted
from captioner.errors import (
    BundleError,
    ConfigError,
    DataError,
    ImageError,
    ImageTooLarge,
    NotAnImage,
    WeightsError,
    is_full_disk,
)
from service.http.auth import TokenMissing, TokenWrong, TooManyFailures
from service.http.rates import TooOften
from service.inference.batching import DeadlinePassed, QueueFull, Stopping
from service.inference.occlusion import MadeByAnother
from service.jobs.trainings import TrainingConflict, UnknownTraining
from service.store.archives import ArchiveError
from service.store.datasets import DataSetInUse, UnknownDataSet
from service.store.disk import StorageFull
from service.store.turns import LineFull, WaitedTooLong
from service.store.versions import UnknownVersion, VersionInUse

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_SENTENCES = {
    404: "There is nothing at this address: the addresses are listed at /openapi/swagger.",
    405: "This address does not know the method {method}: see /openapi/swagger for what it knows.",
    413: "The request is larger than {megabytes} MB, the largest that is read: send less.",
}
NOT_JSON = "The body is not JSON: see /openapi/swagger for what is wanted."


TOKEN_WANTED = (
    "Send the service's token in the header `Authorization: Bearer TOKEN`: it was printed when the service started, or"
    " whoever runs it has set it."
)
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
"""What the system says of a disk that is read-only, and of a folder that is somebody else's."""
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


class InvalidPart(BaseModel):
    """One thing that is wrong, in a request or in the service."""

    where: str = Field(description="The name of the option or field; or model, database, disk, worker or redis.")
    message: str


class ProblemDocument(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = Field("about:blank", description="Always about:blank: the status says what kind of problem it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What was wrong and what to do, for a person to read.")
    errors: list[InvalidPart] | None = Field(None, description="Where several things can be wrong, each of them.")
    retry_after: int | None = Field(None, description="Seconds after which the same request may succeed.")


class Problem(Exception):
    """An error that is answered with its status and a sentence.

    `retry_after`: seconds after which the same request may succeed.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[InvalidPart] | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.headers = dict(headers)
        self.document = ProblemDocument(
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail[:1].upper() + detail[1:],
            errors=errors,
            retry_after=retry_after,
        )

    def json(self) -> str:
        return self.document.model_dump_json(exclude_none=True)

    def response(self) -> Response:
        response = Response(self.json(), self.document.status, content_type=MEDIA_TYPE)
        if self.document.retry_after is not None:
            response.headers["Retry-After"] = str(self.document.retry_after)
        response.headers.update(self.headers)
        return response


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for. What nobody foresaw becomes a 500 that tells nothing of the inside."""
    match error:
        case Problem():
            return error
        case ImageTooLarge():
            return Problem(413, f"{error}.")
        case TokenMissing():
            return Problem(401, TOKEN_WANTED, headers=_CHALLENGE)
        case TokenWrong():
            return Problem(401, f"This is not the token of this service. {TOKEN_WANTED}", headers=_CHALLENGE)
        case TooManyFailures():
            return Problem(
                429,
                f"Too many wrong tokens came from this address: wait {counted(error.seconds, 'second')}.",
                retry_after=error.seconds,
            )
        case TooOften():
            return Problem(
                429,
                f"Too many requests came from this address: wait {counted(error.seconds, 'second')}, and send them"
                " at longer intervals.",
                retry_after=error.seconds,
            )
        case StorageFull():
            return Problem(507, f"{error}.")
        case UnknownVersion() | UnknownDataSet() | UnknownTraining():
            return Problem(404, f"{error}.")
        case VersionInUse() | DataSetInUse() | TrainingConflict() | MadeByAnother():
            return Problem(409, f"{error}.")
        case NotAnImage():
            return Problem(415, f"{error}.")
        case ImageError() | ConfigError() | BundleError() | WeightsError() | DataError() | ArchiveError():
            return Problem(422, f"{error}.")
        case ValidationError():
            return _invalid(error)
        case QueueFull():
            return Problem(503, "Too many photos wait already: send this one again in a moment.", retry_after=2)
        case DeadlinePassed():
            return Problem(503, "The photo's turn did not come in time: send it again in a moment.", retry_after=5)
        case LineFull() | WaitedTooLong():
            return Problem(503, "Too many requests already wait for this: try again in a moment.", retry_after=10)
        case Stopping():
            return Problem(503, "The service is about to stop: send the photo again in a moment.", retry_after=10)
        case OperationalError() if _sqlite_code(error) == sqlite3.SQLITE_FULL:
            return _full_disk(error)
        case OperationalError() | NoConnectionFree():
            log.error("The database failed", exc_info=error)
            return Problem(503, "The database is busy or cannot be reached: try again in a moment.", retry_after=10)
        case OSError() if is_full_disk(error):
            return _full_disk(error)
        case OSError() if error.errno in _UNWRITABLE:
            log.error("The data folder cannot be written", exc_info=error)
            return Problem(
                503, "The service cannot write to its disk: tell who runs it, then try again.", retry_after=60
            )
        case HTTPException() if error.code is not None:
            return Problem(error.code, _sentence(error))
        case _:
            log.error("A request failed", exc_info=error)
            return Problem(500, "The service failed at this request, and its log says why: that is not your fault.")


def _full_disk(error: Exception) -> Problem:
    log.error("The disk is full", exc_info=error)
    return Problem(
        507, "The service's disk is full, and nothing of this was kept: delete something, or tell who runs it."
    )


def _sqlite_code(error: OperationalError) -> int | None:
    return getattr(error.orig, "sqlite_errorcode", None)


def described(*statuses: int) -> dict[int, dict[str, Any]]:
    """The problems that an operation may answer with, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def invalid_request(error: ValidationError) -> Response:
    """What flask-openapi3 answers where a request does not fit its model."""
    if error.errors()[0]["type"] == "model_type":  # the body is no object
        if request.mimetype != "application/json":
            return Problem(415, "This address wants JSON: send it with the Content-Type application/json.").response()
        if request.get_json(silent=True) is None:
            return Problem(400, NOT_JSON).response()
    return _invalid(error).response()


def handle_errors(app: Flask) -> None:
    """Answer every error of an app with a problem document."""

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException) and (error.code is None or error.code < 400):
            return error  # a redirect, or a response that was made already
        response = problem_of(error).response()
        if isinstance(error, HTTPException):
            kept = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
            response.headers.update(kept)
        return response


def _sentence(error: HTTPException) -> str:
    """What to tell of an error that Flask or Werkzeug found."""
    if error.code not in _SENTENCES:
        return error.description or HTTPStatus(error.code).description
    megabytes = (request.max_content_length or 0) // 1_000_000
    return _SENTENCES[error.code].format(method=request.method, megabytes=megabytes)


def _invalid(error: ValidationError) -> Problem:
    errors = [
        InvalidPart(where=".".join(map(str, part["loc"])) or "the request", message=_message(part))
        for part in error.errors(include_url=False, include_input=False)
    ]
    return Problem(
        422, "In the request, " + "; ".join(f"{part.where}: {part.message}" for part in errors) + ".", errors
    )


def _message(part: dict) -> str:
    if part["type"] == "extra_forbidden":
        return "there is no such option"
    return part["msg"][:1].lower() + part["msg"][1:]
