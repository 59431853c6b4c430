"""What every operation of the API needs: the service behind it, and a way to answer."""

from flask import Response, current_app
from pydantic import BaseModel

from service.inference.captioning import CaptionService

SECURITY = [{"token": []}]
"""Of operations that need the token, for the OpenAPI document."""

JPEG = {200: {"description": "The photo.", "content": {"image/jpeg": {}}}}
"""What `jpeg_response` answers, likewise."""


def current_service() -> CaptionService:
    """The service of the app that answers the current request."""
    return current_app.extensions["captioner"]


def jpeg_response(data: bytes) -> Response:
    """A photo that stays what it is."""
    return Response(data, content_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"})


def json_response(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status, content_type="application/json")
