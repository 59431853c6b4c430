"""Read photos, their options and zips from requests."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from flask import Request
from werkzeug.exceptions import BadRequest

from service.api.encoded_photos import address_field, photo_bytes, refuse_address
from service.api.operations import current_service
from service.api.schemas import CaptionOptions, CaptionQuery
from service.errors import NOT_JSON, Problem

_BINARY = {"type": "string", "format": "binary", "description": "The photo's file: JPEG, PNG, WebP, HEIC, ..."}
_BASE64 = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "The photo's file in base64 (standard or URL-safe), or a data: URL. Other URLs are not fetched.",
}

PHOTO_ADVICE = (
    "send the photo as the field `image` of multipart/form-data (curl -F image=@photo.jpg), as the body itself with a"
    " Content-Type of image/jpeg or the like, or as JSON with the field `image` in base64"
)


ZIP_ADVICE = (
    "send the zip as the body itself with a Content-Type of application/zip (curl --data-binary @photos.zip), or as the"
    " field `file` of multipart/form-data (curl -F file=@photos.zip)"
)


@dataclass(frozen=True)
class UploadedZip:
    """An uploaded zip on disk."""

    file: BinaryIO
    name: str
    """The name that the client gave, without .zip; "upload" if it gave none."""


@contextmanager
def uploaded_zip(request: Request) -> Iterator[UploadedZip]:
    """Yield the zip of a request; it is deleted on exit. `?name=` overrides the file name of a form.

    Raises Problem (400, 415) if there is no zip, or its Content-Type is not supported.
    """
    if request.mimetype == "multipart/form-data":
        if "file" not in request.files:
            raise Problem(400, f"There is no zip in the request: {ZIP_ADVICE}.")
        file, name = request.files["file"].stream, request.files["file"].filename or ""
        yield UploadedZip(file, _clean_name(request, name))
        return
    if request.mimetype not in ("application/zip", "application/x-zip-compressed", "application/octet-stream"):
        problem = f"{request.mimetype} is not supported" if request.mimetype else "is missing"
        raise Problem(415, f"The Content-Type {problem}: {ZIP_ADVICE}.")
    with tempfile.TemporaryFile(dir=current_service().settings.home) as copy:
        shutil.copyfileobj(request.stream, copy, 1 << 20)
        if not copy.tell():
            raise Problem(400, f"There is no zip in the request, or it is empty: {ZIP_ADVICE}.")
        copy.seek(0)
        yield UploadedZip(copy, _clean_name(request, ""))


def _clean_name(request: Request, filename: str) -> str:
    raw_name = request.args.get("name") or Path(filename.replace("\\", "/")).stem
    name = re.sub(r"[^\w .,()+-]+", " ", raw_name).strip(" .")[:60].strip(" .")
    return name or "upload"


def zip_body(contents: str) -> dict[str, Any]:
    """Return the OpenAPI request body of a zip upload. contents: what the zip contains, in words."""
    file = {"type": "string", "format": "binary", "description": f"A zip of {contents}."}
    form = {"type": "object", "properties": {"file": file}, "required": ["file"]}
    return {
        "required": True,
        "content": {"application/zip": {"schema": file}, "multipart/form-data": {"schema": form}},
    }


@dataclass(frozen=True)
class Upload:
    data: bytes
    """The photo's file, unchanged."""
    options: CaptionOptions


def read_upload(request: Request, query: CaptionQuery) -> Upload:
    """Read the photo and the options of a request. Options may be in the query or in the body, each once.

    Raises Problem (400, 415, 422), or pydantic's ValidationError.
    """
    content_type = request.mimetype
    if content_type == "multipart/form-data":
        data, values = _read_multipart(request)
    elif content_type == "application/json":
        data, values = _read_json(request)
    elif content_type == "application/octet-stream" or (
        content_type.startswith("image/") and content_type != "image/svg+xml"
    ):
        data, values = request.get_data(cache=False), {}
    else:
        problem = f"{content_type} is not supported" if content_type else "is missing"
        raise Problem(415, f"The Content-Type {problem}: {PHOTO_ADVICE}.")
    if not data:
        raise Problem(400, f"There is no photo in the request, or it is empty: {PHOTO_ADVICE}.")
    query_options = query.model_dump(include=set(CaptionOptions.model_fields), exclude_unset=True)
    for name in sorted(values.keys() & query_options.keys()):
        raise Problem(422, f"{name} is set in both the query string and the body: set it once.")
    return Upload(data, CaptionOptions.model_validate(query_options | values))


def request_body() -> dict[str, Any]:
    """Return the OpenAPI request body of a photo: form, JSON or the file itself."""
    options = CaptionOptions.model_json_schema()["properties"]

    def fields(image: dict[str, Any]) -> dict[str, Any]:
        properties = {"image": image, **options}
        return {
            "schema": {
                "type": "object",
                "properties": properties,
                "required": ["image"],
                "additionalProperties": False,
            }
        }

    file = {"schema": _BINARY}
    return {
        "required": True,
        "content": {
            "multipart/form-data": fields(_BINARY),
            "application/json": fields(_BASE64),
            "image/jpeg": file,
            "image/png": file,
            "image/webp": file,
            "image/heic": file,
            "image/jxl": file,
            "application/octet-stream": file,
        },
    }


def _read_multipart(request: Request) -> tuple[bytes, dict[str, Any]]:
    files, values = request.files, request.form
    if None in files or None in values:
        raise Problem(422, "A part of the form has no name: name the photo's field image.")
    for name in [*files, *values]:
        if len(files.getlist(name)) + len(values.getlist(name)) > 1:
            raise Problem(422, f"The field {name} comes more than once: send one photo, and each option once.")
    if unknown := sorted(set(files) - {"image"}):
        raise Problem(422, f"The file field {', '.join(unknown)} is unknown: name the photo's field image.")
    if "image" in values:
        raise Problem(422, "The field image is text: send it as a file (curl -F image=@photo.jpg).")
    return files["image"].read() if "image" in files else b"", values.to_dict()


def _read_json(request: Request) -> tuple[bytes, dict[str, Any]]:
    try:
        values = request.get_json(cache=False)  # a cached body would stay in memory while the request waits
    except BadRequest as error:
        raise Problem(400, NOT_JSON) from error
    if not isinstance(values, dict):
        raise Problem(422, 'The JSON must be an object: {"image": "BASE64"}.')
    if (not isinstance(values.get("image"), str) or not values["image"]) and (field := address_field(values)):
        refuse_address(field)
    if "image" not in values and (unexpected := sorted(values.keys() - CaptionOptions.model_fields.keys())):
        raise Problem(422, f"The JSON has no field image, only {', '.join(unexpected)[:100]}: {PHOTO_ADVICE}.")
    image = values.pop("image", "")
    if not isinstance(image, str):
        raise Problem(422, "image must be a string: the photo's file in base64.")
    CaptionOptions.model_validate(values, strict=True)
    return photo_bytes(image), values
