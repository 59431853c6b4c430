"""Whether the service lives, whether it takes work, and what it counts."""

from flask import Blueprint, Response
from flask_openapi3 import APIBlueprint, Tag

from service.api.operations import current_service
from service.api.schemas import Health
from service.batching import Stopping
from service.problems import described

api = APIBlueprint(
    "health",
    __name__,
    url_prefix="/api/health",
    abp_tags=[Tag(name="health", description="For those who run the service.")],
    abp_responses=described(422),
)
metrics = Blueprint("metrics", __name__)


@api.get("/live", responses={200: Health})
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@api.get("/ready", responses={200: Health} | described(503))
def ready() -> dict[str, str]:
    """The service takes photos: the captioner is loaded, the database answers, and it is not about to stop."""
    if not current_service().ready:
        raise Stopping
    current_service().database.check()
    return {"status": "ready"}


@metrics.get("/metrics")
def read_metrics() -> Response:
    """For Prometheus."""
    counted = current_service().metrics
    return Response(counted.text(), content_type=counted.content_type)
