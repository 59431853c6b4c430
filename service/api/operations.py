"""Shared parts of all API operations: access to the service, and responses."""

from flask import Response, current_app
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


def json_response(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status, content_type="application/json")
