"""Pictures of a kept caption: the photo, the overlay of each word, the paper's figure."""

import io

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from PIL import Image

from captioner.captioner import Caption
from captioner.overlays import figure_strip, overlay, scaled_to
from service.api.captions import find, missing
from service.api.operations import current_service
from service.api.schemas import CaptionPath, FigureQuery, ImageQuery, OverlayPath, OverlayQuery
from service.documents import captions_of
from service.problems import Problem, described

api = APIBlueprint(
    "pictures",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="pictures", description="Where the model looked, as pictures.")],
    abp_responses=described(404, 422),
)

_FOREVER = "private, max-age=31536000, immutable"


def _picture_response(kind: str) -> dict:
    return {200: {"description": "The picture.", "content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}


@api.get("/<caption_id:id>/image", responses=_picture_response("image/jpeg"))
def get_image(path: CaptionPath, query: ImageQuery) -> Response:
    """The photo: upright, at most 2048 pixels a side, without what the camera wrote into the file."""
    try:
        return _picture(current_service().photos.jpeg(path.id, query.size), "image/jpeg")
    except FileNotFoundError as error:
        raise missing(path.id) from error


@api.get("/<caption_id:id>/overlays/<int:number>.png", responses=_picture_response("image/png"))
def get_overlay(path: OverlayPath, query: OverlayQuery) -> Response:
    """Where the model looked for one word, in colour over the photo."""
    caption = _caption(path.id, query.caption)
    if not 1 <= path.number <= len(caption.words):
        raise Problem(
            404, f"The caption has {len(caption.words)} words, and there is no word {path.number}: count from 1."
        )
    photo = _photo(path.id)
    picture = overlay(
        photo,
        caption.alphas[path.number - 1],
        caption.frame,
        smooth=query.style == "smooth",
        opacity=query.opacity,
        colour_map=query.colour_map,
        size=None if query.size is None else scaled_to(photo.size, query.size),
    )
    return _picture(_png(picture), "image/png")


@api.get("/<caption_id:id>/figure.png", responses=_picture_response("image/png"))
def get_figure(path: CaptionPath, query: FigureQuery) -> Response:
    """The figure of Xu et al. 2015: the photo, then for each word the photo lit where the model looked."""
    caption = _caption(path.id, query.caption)
    return _picture(_png(figure_strip(_photo(path.id), caption, smooth=query.style == "smooth")), "image/png")


def _caption(caption_id: str, rank: int) -> Caption:
    captions = captions_of(find(caption_id))
    if rank > len(captions):
        raise Problem(404, f"The photo has {len(captions)} captions, and there is no caption {rank}: count from 1.")
    return captions[rank - 1]


def _photo(caption_id: str) -> Image.Image:
    try:
        return current_service().photos.open(caption_id)
    except FileNotFoundError as error:  # deleted a moment ago
        raise missing(caption_id) from error


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _picture(data: bytes, kind: str) -> Response:
    return Response(data, content_type=kind, headers={"Cache-Control": _FOREVER, "Content-Disposition": "inline"})
