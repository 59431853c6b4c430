"""Whether the service lives, whether it takes work, and what it counts."""

from flask import Blueprint, Response
from flask_openapi3 import APIBlueprint, Tag

from service.api.operations import current_service
from service.api.schemas import Health
from service.batching import Stopping
from service.problems import InvalidPart, Problem, described

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
    """The service can do all of its work, and is not about to stop; else `errors` names what is wrong, one by one."""
    service = current_service()
    if service.is_stopping:
        raise Stopping
    if faults := service.faults():
        errors = [InvalidPart(where=fault.where, message=fault.message) for fault in faults]
        raise Problem(503, f"{'; '.join(fault.message for fault in faults)}.", errors, retry_after=10)
    return {"status": "ready"}


@metrics.get("/metrics")
def read_metrics() -> Response:
    """For Prometheus."""
    counted = current_service().metrics
    return Response(counted.text(), content_type=counted.content_type)
