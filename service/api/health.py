"""Health checks and metrics."""

from flask import Blueprint, Response
from flask_openapi3 import APIBlueprint, Tag

from service.api.operations import current_service
from service.api.schemas import Liveness, ReadinessDocument
from service.errors import InvalidPart, Problem, problem_responses
from service.inference.batching import Stopping

api = APIBlueprint(
    "health",
    __name__,
    url_prefix="/api/health",
    abp_tags=[Tag(name="health", description="For operators of the service.")],
    abp_responses=problem_responses(422),
)
metrics = Blueprint("metrics", __name__)


@api.get("/live", responses={200: Liveness})
def live() -> dict[str, str]:
    """Check that the process answers."""
    return {"status": "alive"}


@api.get("/ready", responses={200: ReadinessDocument} | problem_responses(503))
def ready() -> dict[str, object]:
    """Check that the service can caption photos and is not stopping. `errors` lists each fault."""
    service = current_service()
    if service.is_stopping:
        raise Stopping
    faults = service.faults()
    errors = [InvalidPart(where=fault.where, message=fault.message) for fault in faults]
    if any(fault.stops_captions for fault in faults):
        raise Problem(503, f"{'; '.join(fault.message for fault in faults)}.", errors, retry_after=10)
    return ReadinessDocument(status="limited" if errors else "ready", errors=errors).model_dump()


@metrics.get("/metrics")
def read_metrics() -> Response:
    """Return the metrics for Prometheus."""
    service_metrics = current_service().metrics
    return Response(service_metrics.text(), content_type=service_metrics.content_type)
