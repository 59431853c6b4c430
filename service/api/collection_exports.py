"""Exports of a collection: its captions, and its photos if wanted, in the formats of other tools."""

import itertools
from collections.abc import Iterator

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from captioner.exports import ExportOptions, ExportRecord, export_chunks, export_file
from captioner.exports.formats import EXPORT_FORMATS
from service.api.collection_schemas import CollectionPath, ExportQuery
from service.api.operations import current_service
from service.errors import Problem, problem_responses
from service.inference.captioning import CaptionService

api = APIBlueprint(
    "collection_exports",
    __name__,
    url_prefix="/api/collections",
    abp_tags=[Tag(name="collections", description="Many photos that are captioned in the background.")],
    abp_responses=problem_responses(404, 422),
)

_MEDIA_TYPES = sorted({form.media_type for form in EXPORT_FORMATS.values()})
_FILE = {200: {"description": "One file, streamed.", "content": {media_type: {} for media_type in _MEDIA_TYPES}}}


@api.get("/<caption_id:id>/export", responses=_FILE | problem_responses(409, 429))
def export_collection(path: CollectionPath, query: ExportQuery) -> Response:
    """Take the captions away as one file, or one zip. Photos without a caption are left out.

    A photo that is deleted meanwhile is left out as well. The photos are those that were sent, unchanged.
    """
    service = current_service()
    service.collections.get(path.id)
    options = ExportOptions(photos=query.photos, prefix=query.prefix, suffix=query.suffix)
    with_photos = query.photos or EXPORT_FORMATS[query.format].has_photos
    records = _records(service, path.id, query.corrected, with_photos)
    first = next(records, None)
    if first is None:
        raise Problem(409, "No photo of this collection has such a caption yet: wait until some are captioned.")
    chunks = export_chunks(query.format, itertools.chain([first], records), options)
    file = export_file(query.format, options)
    return Response(
        chunks,
        mimetype=file.media_type,  # with the charset for texts
        headers={"Content-Disposition": f"attachment; filename={file.file_name}", "X-Accel-Buffering": "no"},
    )


def _records(service: CaptionService, collection_id: str, corrected: bool, with_photos: bool) -> Iterator[ExportRecord]:
    """Yield the captioned photos. corrected: only captions that people wrote."""
    for photo in service.collection_photos.each(collection_id):
        if photo.caption is None or (corrected and photo.correction is None):
            continue
        file = service.collections.photo_file(collection_id, photo.number) if with_photos else None
        if file is not None and not file.is_file():
            continue
        yield ExportRecord(
            photo.name,
            (photo.caption,),
            source=file,
            size=None if photo.width is None or photo.height is None else (photo.width, photo.height),
            confidence=photo.confidence if photo.correction is None else None,
        )
