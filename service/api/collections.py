"""Collections: send many photos, follow their captioning, take their captions away, train on them."""

import re
from collections.abc import Iterator
from pathlib import Path

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.api.collection_schemas import (
    MAX_NUMBER,
    AdditionDocument,
    CaptionAgainBody,
    CollectionDataSetBody,
    CollectionDataSetDocument,
    CollectionDocument,
    CollectionList,
    CollectionPath,
    CollectionPhotoPage,
    CollectionQuery,
    DeletedPhotos,
    EventsQuery,
    NameBody,
)
from service.api.collection_serializers import addition_document, collection_document, photo_documents
from service.api.collection_uploads import UPLOAD_PROBLEMS, photos_body, uploaded_photos
from service.api.datasets import dataset_document
from service.api.following import event, follow
from service.api.operations import SECURITY, current_service, json_response
from service.api.schema_parts import event_stream
from service.errors import problem_responses
from service.inference.captioning import CaptionService
from service.store.collections import FAILED, STATES, WAITING, Addition, UnknownCollection

api = APIBlueprint(
    "collections",
    __name__,
    url_prefix="/api/collections",
    abp_tags=[Tag(name="collections", description="Many photos that are captioned in the background.")],
    abp_responses=problem_responses(422),
)

_ADMIN_ONLY = {"security": SECURITY}
_ADMIN_PROBLEMS = problem_responses(401, 404, 429)
_STREAM = {
    200: event_stream(
        "Events `collection`, whose data is the document that GET returns, `photos`: those that changed, and `deleted`:"
        " `numbers` of deleted photos. The id of an event is a revision of the collection. The stream ends when no"
        " photo waits.",
        "collection",
        "photos",
        "deleted",
    )
}
_EVENT_PHOTOS = 500
"""Maximum number of photos in one event."""
_STATES_AGAIN = {"all": STATES, "failed": (FAILED, WAITING), "waiting": (WAITING,)}


@api.post(
    "",
    responses={201: AdditionDocument} | UPLOAD_PROBLEMS,
    openapi_extensions={"requestBody": photos_body()},
)
def create_collection(query: CollectionQuery) -> Response:
    """Create a collection from photos: several files, or a zip. They are captioned in the background.

    A file that is no photo does not stop the others. With the token, a request may be as large as a data set. Without
    it, send the rest of a large collection to `/photos`.
    """
    service = current_service()
    with uploaded_photos(service, request) as (intake, name):
        collection = service.collections.create(query.name or name, intake)
        addition = Addition(collection.photos, len(intake.photos) - collection.photos)
    service.collecting.wake()
    response = json_response(addition_document(collection, addition, intake), 201)
    response.headers["Location"] = f"/api/collections/{collection.id}"
    return response


@api.get("", responses={200: CollectionList} | problem_responses(401, 429), **_ADMIN_ONLY)
def list_collections() -> Response:
    """List all collections, newest first."""
    collections = current_service().collections.all()
    return json_response(CollectionList(collections=[collection_document(collection) for collection in collections]))


@api.get("/<caption_id:id>", responses={200: CollectionDocument} | problem_responses(404))
def get_collection(path: CollectionPath) -> Response:
    """Return a collection: how many photos it has, and how many are captioned."""
    return json_response(collection_document(current_service().collections.get(path.id)))


@api.patch(
    "/<caption_id:id>",
    responses={200: CollectionDocument} | _ADMIN_PROBLEMS | problem_responses(400, 415),
    **_ADMIN_ONLY,
)
def rename_collection(path: CollectionPath, body: NameBody) -> Response:
    """Give a collection another name."""
    return json_response(collection_document(current_service().collections.rename(path.id, body.name)))


@api.delete("/<caption_id:id>", responses={204: None} | _ADMIN_PROBLEMS, **_ADMIN_ONLY)
def delete_collection(path: CollectionPath) -> Response:
    """Delete a collection, its photos and their captions. Data sets made from it are copies and stay."""
    current_service().collections.delete(path.id)
    return Response(status=204)


@api.get("/<caption_id:id>/events", responses=_STREAM | problem_responses(404, 503))
def follow_collection(path: CollectionPath, query: EventsQuery) -> Response:
    """Return the progress and the changed photos as server-sent events while photos wait.

    After a break, send the id of the last event as `since`, or as the header `Last-Event-ID`.
    """
    service = current_service()
    sent = service.collections.get(path.id).revision if query.since is None else query.since
    if query.since is None and re.fullmatch("[0-9]{1,10}", last_id := request.headers.get("Last-Event-ID", "")):
        sent = min(int(last_id), MAX_NUMBER)
    return follow(service, _CollectionEvents(service, path.id, sent).poll)


@api.post("/<caption_id:id>/cancel", responses={200: CollectionDocument} | problem_responses(404))
def cancel_collection(path: CollectionPath) -> Response:
    """Caption no more photos. Those that wait go on waiting, until photos are added or captioned again."""
    return json_response(collection_document(current_service().collections.cancel(path.id)))


@api.post(
    "/<caption_id:id>/caption-again",
    responses={200: CollectionDocument} | problem_responses(400, 404, 415, 429),
)
def caption_again(path: CollectionPath, body: CaptionAgainBody) -> Response:
    """Caption photos again with the captioner in use. What people wrote stays.

    A photo keeps its caption until it has a new one.
    """
    service = current_service()
    service.collection_photos.caption_again(path.id, _STATES_AGAIN[body.photos])
    service.collecting.wake()
    return json_response(collection_document(service.collections.get(path.id)))


@api.post(
    "/<caption_id:id>/dataset",
    responses={201: CollectionDataSetDocument} | _ADMIN_PROBLEMS | problem_responses(400, 415, 503, 507),
    **_ADMIN_ONLY,
)
def make_dataset(path: CollectionPath, body: CollectionDataSetBody) -> Response:
    """Make a data set to train on from the captions that people wrote and, with `min_confidence`, from sure ones."""
    service = current_service()
    collection = service.collections.get(path.id)
    counts = {True: 0, False: 0}

    def chosen() -> Iterator[tuple[Path, str, str]]:
        for photo in service.collection_photos.each(path.id):
            is_written = photo.correction is not None
            is_sure = None not in (body.min_confidence, photo.confidence) and photo.confidence >= body.min_confidence
            # Photos without a size were never read, so a training could not read them either.
            if photo.caption and photo.width is not None and (is_written or is_sure):
                counts[is_written] += 1
                yield service.collections.photo_file(path.id, photo.number), photo.name, photo.caption

    bundle = service.versions.get(service.serving.version).bundle
    data = service.datasets.add_collection(chosen(), body.name or _dataset_name(collection.name), bundle)
    document = CollectionDataSetDocument(
        dataset=dataset_document(data),
        corrected=counts[True],
        uncorrected=counts[False],
        page=f"/retrain?dataset={data.id}",
    )
    response = json_response(document, 201)
    response.headers["Location"] = f"/api/datasets/{data.id}"
    return response


class _CollectionEvents:
    """Changes of a collection since the last call of `poll`, as server-sent events."""

    def __init__(self, service: CaptionService, collection_id: str, revision: int) -> None:
        """revision: of the collection; later changes are sent."""
        self._service, self._id = service, collection_id
        self._sent = self._sent_deletion = revision
        self._sent_number = 0
        """Number of the last photo of the revision after `_sent` that was sent: it may have others."""
        self._last_document = ""

    def poll(self) -> tuple[list[str], bool]:
        """Return the new events, and whether no others follow."""
        try:
            collection = self._service.collections.get(self._id)
        except UnknownCollection:  # deleted
            return [], True
        events = []
        photos = self._service.collection_photos.changed_since(self._id, self._sent, self._sent_number, _EVENT_PHOTOS)
        if photos:
            self._sent, self._sent_number = photos[-1].revision - 1, photos[-1].number
            page = CollectionPhotoPage(photos=photo_documents(self._service, self._id, photos), next=None)
            events.append(event("photos", page.model_dump_json(), self._sent))
        if deletions := self._service.collection_photos.deleted_since(self._id, self._sent_deletion):
            self._sent_deletion = deletions[-1][1]
            deleted = DeletedPhotos(numbers=[number for number, _ in deletions])
            events.append(event("deleted", deleted.model_dump_json(), self._sent))
        document = collection_document(collection).model_dump_json()
        if document != self._last_document:
            self._last_document = document
            has_all = len(photos) < _EVENT_PHOTOS  # all that had changed when the collection was read
            events.append(event("collection", document, collection.revision if has_all else self._sent))
        return events, not collection.is_captioning and not photos


def _dataset_name(name: str) -> str:
    """Return the name of a collection as a data set may be called: 60 characters without slashes."""
    return re.sub(r"[/\\\x00-\x1f]", " ", name)[:60].strip() or "collection"
