"""Errors as RFC 9457 problem details, with a message that says what to do."""

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

from captioner.errors import (
    BundleError,
    ConfigError,
    DataError,
    ImageError,
    ImageTooLarge,
    NotAnImage,
    TextError,
    WeightsError,
    is_full_disk,
)
from captioner.text.counting import counted
from service.access.auth import TokenMissing, TokenWrong, TooManyFailures
from service.access.origins import ForeignOrigin, UntrustedHost
from service.access.rates import RateLimitExceeded
from service.inference.batching import DeadlinePassed, QueueFull, Stopping
from service.inference.recomputing import DifferentCaptioner
from service.inference.translating import BrokenTranslator
from service.jobs.trainings import TrainingConflict, UnknownTraining
from service.store.archives import ArchiveError
from service.store.bounded_lock import TooManyWaiting, WaitTimeout
from service.store.collection_records import StaleCaption
from service.store.collections import UnknownCollection
from service.store.datasets import DataSetInUse, UnknownDataSet
from service.store.disk import StorageFull
from service.store.versions import UnknownVersion, VersionInUse

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_MESSAGES = {
    404: "This URL does not exist: see /openapi/swagger for all URLs.",
    405: "This URL does not support the method {method}: see /openapi/swagger for its methods.",
    413: "The request is larger than the limit of {megabytes} MB: send less.",
}
NOT_JSON = "The body is not JSON: see /openapi/swagger for the expected fields."


TOKEN_REQUIRED = (
    "Send the service's token in the header `Authorization: Bearer TOKEN`. The service prints it at its start, or its"
    " operator has set it."
)
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)
"""Error numbers of a read-only disk, and of a folder of another user."""
_CHALLENGE = {"WWW-Authenticate": "Bearer"}

_STATUSES = {
    UntrustedHost: 400,
    ForeignOrigin: 403,
    **dict.fromkeys((UnknownVersion, UnknownDataSet, UnknownTraining, UnknownCollection), 404),
    **dict.fromkeys((VersionInUse, DataSetInUse, TrainingConflict, DifferentCaptioner), 409),
    ImageTooLarge: 413,
    NotAnImage: 415,
    **dict.fromkeys((ImageError, ConfigError, BundleError, WeightsError, DataError, ArchiveError, TextError), 422),
    StorageFull: 507,
}
"""Exception whose message is the problem's -> status."""

_BUSY = {
    QueueFull: ("Too many photos are waiting: send this one again in a moment.", 2),
    DeadlinePassed: ("The photo was not captioned in time: send it again in a moment.", 5),
    **dict.fromkeys(
        (TooManyWaiting, WaitTimeout), ("Too many requests are waiting for this: try again in a moment.", 10)
    ),
    Stopping: ("The service is stopping: send the photo again in a moment.", 10),
}
"""Exception of a service that is busy -> message, and seconds after which the same request may succeed."""


class InvalidPart(BaseModel):
    """One fault in a request or in the service."""

    where: str = Field(
        description="The name of the option or field; or model, translator, database, disk, worker or redis."
    )
    message: str


class PresentCaption(BaseModel):
    """A caption of a collection as it is stored."""

    caption: str | None
    version: int = Field(description="Send it with the next change.")


class ProblemDocument(BaseModel):
    """Problem details of an error (RFC 9457)."""

    type: str = Field("about:blank", description="Always about:blank: the status gives the kind of problem.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What is wrong and what to do, in plain text.")
    errors: list[InvalidPart] | None = Field(None, description="Each fault, if there can be several.")
    retry_after: int | None = Field(None, description="Seconds after which the same request may succeed.")
    present: PresentCaption | None = Field(
        None, description="What is stored, if a change was refused because someone else had made one."
    )


class Problem(Exception):
    """An error with its HTTP status and message.

    retry_after: seconds after which the same request may succeed.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[InvalidPart] | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        present: PresentCaption | None = None,
    ) -> None:
        super().__init__(detail)
        self.headers = dict(headers)
        self.document = ProblemDocument(
            title=HTTPStatus(status).phrase,
            status=status,
            detail=detail[:1].upper() + detail[1:],
            errors=errors,
            retry_after=retry_after,
            present=present,
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
    """Convert an exception to a problem. Unexpected exceptions become a 500 without internal details."""
    for kind in type(error).__mro__:  # the most specific one first
        if kind in _STATUSES:
            return Problem(_STATUSES[kind], f"{error}.")
        if kind in _BUSY:
            detail, seconds = _BUSY[kind]
            return Problem(503, detail, retry_after=seconds)
    match error:
        case Problem():
            return error
        case TokenMissing() | TokenWrong() | TooManyFailures() | RateLimitExceeded():
            return _refused(error)
        case StaleCaption():
            present = PresentCaption(caption=error.photo.caption, version=error.photo.version)
            return Problem(409, f"{error}.", present=present)
        case BrokenTranslator():
            return Problem(503, f"{error}.", retry_after=60)
        case ValidationError():
            return _invalid(error)
        case OperationalError() | NoConnectionFree() | OSError():
            return _failed_storage(error)
        case HTTPException() if error.code is not None:
            return Problem(error.code, _http_message(error))
    return _unexpected(error)


def _refused(error: TokenMissing | TokenWrong | TooManyFailures | RateLimitExceeded) -> Problem:
    """Return the problem of a request without the token, with a wrong one, or beyond a limit."""
    match error:
        case TokenMissing():
            return Problem(401, TOKEN_REQUIRED, headers=_CHALLENGE)
        case TokenWrong():
            return Problem(401, f"This is not the token of this service. {TOKEN_REQUIRED}", headers=_CHALLENGE)
        case TooManyFailures():
            what, then = "wrong tokens", ""
        case RateLimitExceeded():
            what, then = "requests", ", and send fewer per minute"
    wait = counted(error.seconds, "second")
    return Problem(429, f"Too many {what} came from your address: wait {wait}{then}.", retry_after=error.seconds)


def _failed_storage(error: OperationalError | NoConnectionFree | OSError) -> Problem:
    """Return the problem of a failed database or disk."""
    match error:
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
                503, "The service cannot write to its disk: tell its operator, then try again.", retry_after=60
            )
    return _unexpected(error)


def _unexpected(error: Exception) -> Problem:
    log.error("A request failed", exc_info=error)
    return Problem(500, "The service failed to handle this request: tell its operator, who finds the cause in its log.")


def _full_disk(error: Exception) -> Problem:
    log.error("The disk is full", exc_info=error)
    return Problem(
        507,
        "The service's disk is full, and nothing was stored: delete captions, collections or data sets, or tell its"
        " operator.",
    )


def _sqlite_code(error: OperationalError) -> int | None:
    return getattr(error.orig, "sqlite_errorcode", None)


def problem_responses(*statuses: int) -> dict[int, dict[str, Any]]:
    """Return the OpenAPI responses for the problems of an operation."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.__name__}"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def invalid_request(error: ValidationError) -> Response:
    """Return the response of flask-openapi3 for a request that does not match its schema."""
    if error.errors()[0]["type"] == "model_type":  # the body is not an object
        if request.mimetype != "application/json":
            return Problem(415, "This URL expects JSON: send it with the Content-Type application/json.").response()
        if request.get_json(silent=True) is None:
            return Problem(400, NOT_JSON).response()
    return _invalid(error).response()


def handle_errors(app: Flask) -> None:
    """Answer every error of an app with a problem document."""

    @app.errorhandler(Exception)
    def respond(error: Exception) -> Response | HTTPException:
        if isinstance(error, HTTPException) and (error.code is None or error.code < 400):
            return error  # a redirect, or a complete response
        response = problem_of(error).response()
        if isinstance(error, HTTPException):
            http_headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
            response.headers.update(http_headers)
        return response


def _http_message(error: HTTPException) -> str:
    """Return the message for an error of Flask or Werkzeug."""
    if error.code not in _MESSAGES:
        return error.description or HTTPStatus(error.code).description
    megabytes = (request.max_content_length or 0) // 1_000_000
    return _MESSAGES[error.code].format(method=request.method, megabytes=megabytes)


def _invalid(error: ValidationError) -> Problem:
    errors = [
        InvalidPart(where=".".join(map(str, fault["loc"])) or "the request", message=_fault_message(fault))
        for fault in error.errors(include_url=False, include_input=False)
    ]
    return Problem(
        422, "In the request, " + "; ".join(f"{fault.where}: {fault.message}" for fault in errors) + ".", errors
    )


def _fault_message(fault: dict) -> str:
    if fault["type"] == "extra_forbidden":
        return "there is no such option"
    return fault["msg"][:1].lower() + fault["msg"][1:]
