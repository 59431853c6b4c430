"""What every operation of the API needs: the service behind it, and a way to answer."""

from flask import Response, current_app
from pydantic import BaseModel

from service.captioning import CaptionService

SECURITY = [{"token": []}]
"""Of operations that need the token, for the OpenAPI document."""


def current_service() -> CaptionService:
    """The service of the app that answers the current request."""
    return current_app.extensions["captioner"]


def json_response(document: BaseModel, status: int = 200) -> Response:
    return Response(document.model_dump_json(), status, content_type="application/json")
