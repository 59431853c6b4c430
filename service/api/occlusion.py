"""Occlusion maps of a stored caption: sensitivity of each chosen word to hidden locations."""

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from service.api.captions import find_ranked, stored_photo
from service.api.operations import current_service, json_response
from service.api.schemas import CaptionPath, Evidence, Rank
from service.errors import problem_responses
from service.store.captions import StoredCaption

api = APIBlueprint(
    "evidence",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="evidence", description="Occlusion maps: sensitivity of each word to hidden locations.")],
    abp_responses=problem_responses(404, 422),
)


@api.get("/<caption_id:id>/evidence", responses={200: Evidence} | problem_responses(409, 429, 503))
def get_evidence(path: CaptionPath, query: Rank) -> Response:
    """Return an occlusion map for each word: how much hiding a location lowers the word's probability.

    The maps are computed on demand from the stored photo by the captioner that made the caption. If another
    captioner is in use now, the answer is 409: caption the photo again.
    """
    entry, caption = find_ranked(path.id, query.caption)
    rows, columns = caption.alphas.shape[1:]
    maps = occlusion_maps_for(entry, query.caption)
    return json_response(Evidence(rows=rows, columns=columns, maps=maps))


def occlusion_maps_for(entry: StoredCaption, rank: int) -> np.ndarray:
    """Compute the occlusion maps [T, H, W] of a stored caption. Raises Problem, and as `Recomputation.steps`."""
    service = current_service()
    with stored_photo(entry.id):
        return service.recomputation.occlusion_maps(service.serving, entry, rank)
