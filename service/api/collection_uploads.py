"""Read the photos of a collection from a request: a zip, or several files of a form."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote

from flask import Request

from service.api.collection_schemas import NameBody
from service.api.uploads import uploaded_zip
from service.errors import Problem, problem_responses
from service.inference.captioning import CaptionService
from service.store.intake import Intake, clean_name

UPLOAD_PROBLEMS = problem_responses(400, 401, 413, 415, 429, 507)
"""OpenAPI responses of operations that call `uploaded_photos`, besides 422."""

_ADVICE = (
    "send photos, or a zip of photos, as fields `file` of multipart/form-data (curl -F file=@1.jpg -F file=@2.jpg), or"
    " a zip as the body itself with a Content-Type of application/zip"
)
_FILE = {"type": "string", "format": "binary", "description": "A photo, or a zip of photos."}


_ESCAPED = re.compile("%(?:22|0A|0D)")
"""Escapes in the names of a form's files: HTML Standard, multipart form data."""


@contextmanager
def uploaded_photos(service: CaptionService, request: Request) -> Iterator[tuple[Intake, str]]:
    """Yield the photos of a request, and a name for their collection. They are deleted on exit if nothing took them.

    Raises Problem (400, 415, 422), ArchiveError, DataError, or OSError if the disk is full.
    """
    limit, size = service.settings.max_dataset_bytes, request.content_length or 0
    # The request has reserved its own size.
    max_bytes = min(
        limit, *(storage.free_bytes(limit) + size for storage in (service.storage, service.collection_storage))
    )
    with service.collections.intake(max_bytes) as intake:
        if request.mimetype != "multipart/form-data":
            with uploaded_zip(request) as upload:
                intake.add("", upload.file)
                yield intake, _default_name(intake, "")
            return
        files = request.files.getlist("file")
        if "file" in request.form:
            raise Problem(422, f"The field file is text, and not a file: {_ADVICE}.")
        if unknown := sorted(map(str, {*request.files} - {"file"} | {*request.form} - {"name"})):
            raise Problem(422, f"The field {', '.join(unknown)[:200]} is unknown: {_ADVICE}.")
        if not files:
            raise Problem(400, f"There are no photos in the request: {_ADVICE}.")
        for file in files:
            intake.add(_file_name(file.filename or "photo"), file.stream)
        name = request.form.get("name")
        yield intake, NameBody(name=name).name if name else _default_name(intake, _file_name(files[0].filename or ""))


def photos_body() -> dict[str, Any]:
    """Return the OpenAPI request body of photos of a collection."""
    files = {"type": "array", "items": _FILE, "minItems": 1}
    name = {"type": "string", "description": "Name of the collection."}
    form = {"type": "object", "properties": {"file": files, "name": name}, "required": ["file"]}
    zip_file = _FILE | {"description": "A zip of photos."}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": form}, "application/zip": {"schema": zip_file}},
    }


def _file_name(name: str) -> str:
    """Return the name of a file before it was put into a form, where quotes and line breaks are escaped."""
    return _ESCAPED.sub(lambda match: unquote(match[0]), name)


def _default_name(intake: Intake, filename: str) -> str:
    """Return the name of the zip or of the folder around the photos. filename: of the first file."""
    name = clean_name(filename)
    if filename.lower().endswith(".zip"):
        return PurePosixPath(name).stem[:200] or "Photos"
    folder, _, rest = (intake.photos[0].name if intake.photos else "").partition("/")
    return folder[:200] if rest else "Photos"
