"""Pictures of a stored caption: the photo, the overlay of each word, the figure of the paper."""

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from PIL import Image

from captioner.captioner import Caption
from captioner.figures import figure_strip, occlusion_heading
from captioner.overlays import overlay, scaled_to
from captioner.text.counting import counted
from service.api.captions import find_ranked, stored_photo
from service.api.occlusion import occlusion_maps_for
from service.api.operations import current_service, picture_response, picture_responses, png_response
from service.api.schemas import CaptionPath, FigureQuery, ImageQuery, OverlayPath, OverlayQuery
from service.errors import Problem, problem_responses
from service.store.captions import StoredCaption

api = APIBlueprint(
    "pictures",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="pictures", description="The photo, attention overlays and figures.")],
    abp_responses=problem_responses(404, 422),
)

_FOREVER = "private, max-age=31536000, immutable"
_NO_STORE = "no-store"
"""For occlusion maps, which are unavailable once another captioner is in use."""


@api.get("/<caption_id:id>/image", responses=picture_responses("image/jpeg"))
def get_image(path: CaptionPath, query: ImageQuery) -> Response:
    """Return the photo: upright, at most 2048 pixels a side, without the camera's metadata."""
    with stored_photo(path.id):
        return picture_response(current_service().photos.jpeg(path.id, query.size), "image/jpeg", _FOREVER)


@api.get(
    "/<caption_id:id>/overlays/<int:number>.png",
    responses=picture_responses("image/png") | problem_responses(409, 429, 503),
)
def get_overlay(path: OverlayPath, query: OverlayQuery) -> Response:
    """Draw the attention map or the occlusion map of one word over the photo."""
    entry, caption = find_ranked(path.id, query.caption)
    if not 1 <= path.number <= len(caption.words):
        raise Problem(
            404,
            f"Word {path.number} does not exist: the caption has {counted(len(caption.words), 'word')}; count from 1.",
        )
    photo = _open_photo(path.id)
    picture = overlay(
        photo,
        _select_maps(entry, caption, query)[path.number - 1],
        caption.frame,
        smooth=query.style == "smooth",
        opacity=query.opacity,
        colour_map=query.colour_map,
        size=None if query.size is None else scaled_to(photo.size, query.size),
    )
    return png_response(picture, _cache_control(query))


@api.get("/<caption_id:id>/figure.png", responses=picture_responses("image/png") | problem_responses(409, 429, 503))
def get_figure(path: CaptionPath, query: FigureQuery) -> Response:
    """Draw the figure of Xu et al. 2015: the photo, then its attention map or occlusion map for each word."""
    entry, caption = find_ranked(path.id, query.caption)
    figure = figure_strip(
        _open_photo(path.id),
        caption,
        smooth=query.style == "smooth",
        maps=_select_maps(entry, caption, query),
        heading=occlusion_heading(caption.text) if query.maps == "evidence" else None,
    )
    return png_response(figure, _cache_control(query))


def _select_maps(entry: StoredCaption, caption: Caption, query: FigureQuery) -> np.ndarray:
    """Return the maps to draw: [T, H, W]."""
    return occlusion_maps_for(entry, query.caption) if query.maps == "evidence" else caption.maps


def _cache_control(query: FigureQuery) -> str:
    return _NO_STORE if query.maps == "evidence" else _FOREVER


def _open_photo(caption_id: str) -> Image.Image:
    with stored_photo(caption_id):
        return current_service().photos.open(caption_id)
