"""Shared parts of all API operations: access to the service, and responses."""

import io
from typing import Any

from flask import Response, current_app
from PIL import Image
from pydantic import BaseModel

from service.inference.captioning import CaptionService

SECURITY = [{"token": []}]
"""OpenAPI security requirement of operations that need the token."""

JPEG = {200: {"description": "The photo.", "content": {"image/jpeg": {}}}}
"""OpenAPI response of operations that return `jpeg_response`."""


def current_service() -> CaptionService:
    """Return the service of the app that handles the current request."""
    return current_app.extensions["captioner"]


def jpeg_response(data: bytes) -> Response:
    """Return a cacheable photo, whose content never changes."""
    return Response(data, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


def picture_responses(kind: str) -> dict[int, dict[str, Any]]:
    """Return the OpenAPI response of operations that return `picture_response` or `png_response`."""
    return {200: {"description": "The picture.", "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


def picture_response(data: bytes, kind: str, cache_control: str) -> Response:
    return Response(data, content_type=kind, headers={"Cache-Control": cache_control, "Content-Disposition": "inline"})


def png_response(picture: Image.Image, cache_control: str = "no-store") -> Response:
    """Return a drawn picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return picture_response(buffer.getvalue(), "image/png", cache_control)


def json_response(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status, content_type="application/json")
