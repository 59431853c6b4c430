"""The captioner that is in use: what it is, and how good it is."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from captioner.bundle import DEFAULT_BUNDLE
from service.api.operations import current_service, json_response
from service.api.schemas import ModelDocument
from service.problems import described

api = APIBlueprint(
    "models",
    __name__,
    url_prefix="/api/models",
    abp_tags=[Tag(name="models", description="The captioner behind the service.")],
    abp_responses=described(422),
)


@api.get("/current", responses={200: ModelDocument})
def current_model() -> Response:
    """The model card and the scores of the captioner that is in use."""
    service = current_service()
    bundle = service.captioner.bundle
    document = ModelDocument(
        version=service.model_version,
        name=(service.settings.bundle or DEFAULT_BUNDLE).name,
        encoder=bundle.config.encoder,
        image_size=bundle.config.image_size,
        fit=bundle.config.fit,
        grid=list(service.grid),
        words=len(bundle.vocabulary),
        decoding=bundle.decoding.to_json(),
        scores={split: bundle.metrics[split] for split in ("validation", "test") if split in bundle.metrics},
        card=bundle.card,
        device=str(service.captioner.device),
    )
    return json_response(document)
