"""Serialize collections and their photos for the API."""

from collections.abc import Sequence
from typing import Any

from captioner.confidence.wording import wording
from service.api.collection_schemas import (
    AdditionDocument,
    CollectionDocument,
    CollectionPhotoDocument,
    CollectionWordsDocument,
    LeftOutDocument,
)
from service.api.schemas import WordFigures
from service.api.serializers import alphas_document, word_fields
from service.inference.captioning import CaptionService
from service.inference.documents import captions_of
from service.store.collection_records import CollectionPhoto, PhotoWords
from service.store.collections import Addition, Collection
from service.store.intake import Intake


def collection_document(collection: Collection) -> CollectionDocument:
    return CollectionDocument(**_fields(collection))


def addition_document(collection: Collection, addition: Addition, intake: Intake) -> AdditionDocument:
    """Return the document of a collection with what an upload added."""
    return AdditionDocument(
        **_fields(collection),
        added=addition.added,
        known=addition.known,
        left_out=[LeftOutDocument(name=file.name, reason=file.reason) for file in intake.left_out],
        left_out_count=intake.left_out_count,
    )


def photo_documents(
    service: CaptionService, collection_id: str, photos: Sequence[CollectionPhoto]
) -> list[CollectionPhotoDocument]:
    """Return the documents of photos of one collection."""
    firsts = service.collection_photos.first_of_digests(collection_id, [photo.digest for photo in photos])
    return [_photo_document(collection_id, photo, firsts.get(photo.digest, photo.number)) for photo in photos]


def words_document(words: PhotoWords) -> CollectionWordsDocument:
    """Return the document of the words of a photo's caption."""
    caption, *_ = captions_of(words)
    return CollectionWordsDocument(
        caption=caption.text,
        confidence=caption.confidence,
        wording=wording(caption.confidence),
        words=[WordFigures(**fields) for fields in word_fields(caption)],
        alphas=alphas_document(caption),
        width=words.width,
        height=words.height,
        seen_box=words.document["seen_box"],
    )


def _photo_document(collection_id: str, photo: CollectionPhoto, first: int) -> CollectionPhotoDocument:
    """first: number of the first photo with the same content."""
    return CollectionPhotoDocument(
        number=photo.number,
        name=photo.name,
        state=photo.state,
        reason=photo.reason,
        caption=photo.caption,
        generated=photo.generated,
        corrected=photo.correction is not None,
        corrected_at=photo.corrected_at,
        version=photo.version,
        confidence=photo.confidence,
        wording=wording(photo.confidence),
        warnings=photo.warnings or [],
        model=photo.model_version,
        width=photo.width,
        height=photo.height,
        bytes=photo.size,
        same_as=None if first >= photo.number else first,
        thumbnail=f"/api/collections/{collection_id}/photos/{photo.number}/thumbnail.jpg",
        revision=photo.revision,
    )


def _fields(collection: Collection) -> dict[str, Any]:
    counts = collection.counts
    waits = "cancelled" if collection.is_cancelled else "captioning"
    return {
        "id": collection.id,
        "name": collection.name,
        "created_at": collection.created_at,
        "state": waits if counts["waiting"] else "done",
        "photos": collection.photos,
        **counts,
        "corrected": collection.corrected,
        "seconds_left": collection.seconds_left,
        "bytes": collection.size,
        "revision": collection.revision,
    }
