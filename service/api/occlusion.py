"""Evidence of a kept caption: what speaks for each word, told once the words are known."""

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from service.api.captions import find_ranked, missing
from service.api.operations import current_service, json_response
from service.api.schemas import CaptionPath, Evidence, Rank
from service.errors import Problem, described
from service.store.captions import StoredCaption
from service.store.turns import LineFull, WaitedTooLong

api = APIBlueprint(
    "evidence",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="evidence", description="What speaks for each word, told once the words are known.")],
    abp_responses=described(404, 422),
)


@api.get("/<caption_id:id>/evidence", responses={200: Evidence} | described(409, 429, 503))
def get_evidence(path: CaptionPath, query: Rank) -> Response:
    """What speaks for each word of a caption: by how much hiding a place makes the word less likely.

    It is computed when it is asked for, from the photo as it was kept, by the captioner that made the caption: where
    another one serves by now, there is none (409), and the photo can be captioned again.
    """
    entry, caption = find_ranked(path.id, query.caption)
    rows, columns = caption.alphas.shape[1:]
    maps = evidence_for(entry, query.caption)
    return json_response(Evidence(rows=rows, columns=columns, maps=maps))


def evidence_for(entry: StoredCaption, rank: int) -> np.ndarray:
    """The evidence for the words of one of an entry's captions: [T, H, W]. Raises Problem and MadeByAnother."""
    service = current_service()
    try:
        return service.evidence.maps(service.serving, entry, rank)
    except FileNotFoundError as error:  # deleted a moment ago
        raise missing(entry.id) from error
    except (LineFull, WaitedTooLong) as error:
        raise Problem(503, "Too many requests for evidence wait: ask again in a moment.", retry_after=5) from error
