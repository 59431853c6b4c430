"""Photos of a collection: add, list, show and delete them, and edit their captions."""

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from service.api.collection_schemas import (
    AdditionDocument,
    CaptionBody,
    CaptionsBody,
    CaptionsDocument,
    CollectionDocument,
    CollectionPath,
    CollectionPhotoDocument,
    CollectionPhotoPage,
    CollectionPhotoPath,
    CollectionPhotoQuery,
    CollectionWordsDocument,
    DeletionQuery,
    ReplacedCaption,
    ReplacementBody,
    ReplacementDocument,
    ThumbnailQuery,
)
from service.api.collection_serializers import addition_document, collection_document, photo_documents, words_document
from service.api.collection_uploads import UPLOAD_PROBLEMS, photos_body, uploaded_photos
from service.api.operations import SECURITY, current_service, json_response, picture_response, picture_responses
from service.errors import Problem, problem_responses
from service.store.collection_listing import PhotoQuery
from service.store.collection_records import CaptionChange, CollectionPhoto, StaleCaption
from service.store.photos import read_jpeg
from service.store.replacing import Replaced, Replacement, replace_in

api = APIBlueprint(
    "collection_photos",
    __name__,
    url_prefix="/api/collections",
    abp_tags=[Tag(name="collection photos", description="The photos of a collection, and their captions.")],
    abp_responses=problem_responses(404, 422),
)

_FOREVER = "private, max-age=31536000, immutable"
"""A number of a photo is never used again."""
_JSON_PROBLEMS = problem_responses(400, 415)


@api.post(
    "/<caption_id:id>/photos",
    responses={201: AdditionDocument} | UPLOAD_PROBLEMS,
    openapi_extensions={"requestBody": photos_body()},
)
def add_photos(path: CollectionPath) -> Response:
    """Add photos to a collection. Photos that it has already, with the same name and content, are passed over.

    So you can send a folder again after an interrupted upload. A cancelled collection is captioned further.
    """
    service = current_service()
    service.collections.get(path.id)  # before the files are unpacked
    with uploaded_photos(service, request) as (intake, _):
        addition = service.collections.add(path.id, intake)
    service.collecting.wake()
    return json_response(addition_document(service.collections.get(path.id), addition, intake), 201)


@api.get("/<caption_id:id>/photos", responses={200: CollectionPhotoPage})
def list_photos(path: CollectionPath, query: CollectionPhotoQuery) -> Response:
    """List photos in pages: all, or those in a state, with words, least sure first."""
    service = current_service()
    wanted = PhotoQuery(
        state=query.state,
        corrected=query.corrected,
        words=tuple((query.search or "").replace("\0", "").split()),
        sort=query.sort,
        after=None if query.cursor is None else _read_cursor(query.cursor, query.sort),
        limit=query.limit + 1,  # one more tells whether there is another page
    )
    photos = service.collection_photos.page(path.id, wanted)
    is_last = len(photos) <= query.limit
    photos = photos[: query.limit]
    following = None if is_last else _cursor_after(photos[-1], query.sort)
    return json_response(CollectionPhotoPage(photos=photo_documents(service, path.id, photos), next=following))


@api.get("/<caption_id:id>/photos/<int:number>", responses={200: CollectionPhotoDocument})
def get_photo(path: CollectionPhotoPath) -> Response:
    """Return one photo with its caption."""
    photo = current_service().collection_photos.get(path.id, path.number)
    return json_response(_document(path.id, photo))


@api.get("/<caption_id:id>/photos/<int:number>/words", responses={200: CollectionWordsDocument})
def get_words(path: CollectionPhotoPath) -> Response:
    """Return the words of the caption that the captioner made, each with its map. Corrections have none."""
    words = current_service().collection_photos.words(path.id, path.number)
    if words is None:
        raise Problem(404, f"The captioner has made no caption of photo {path.number} yet: wait, or caption it again.")
    return json_response(words_document(words))


@api.patch(
    "/<caption_id:id>/photos/<int:number>",
    responses={200: CollectionPhotoDocument} | _JSON_PROBLEMS | problem_responses(409),
)
def correct_photo(path: CollectionPhotoPath, body: CaptionBody) -> Response:
    """Store a caption that a person wrote. If someone else has changed it, the answer is 409 with what is stored."""
    change = CaptionChange(path.number, body.caption, body.version)
    corrected, stale = current_service().collection_photos.correct(path.id, [change])
    if stale:
        raise StaleCaption(stale[0])
    return json_response(_document(path.id, corrected[0]))


@api.patch("/<caption_id:id>/photos", responses={200: CaptionsDocument} | _JSON_PROBLEMS)
def correct_photos(path: CollectionPath, body: CaptionsBody) -> Response:
    """Store captions of several photos. Those that someone else has changed stay as they are."""
    service = current_service()
    changes = [CaptionChange(change.number, change.caption, change.version) for change in body.captions]
    if len({change.number for change in changes}) < len(changes):
        raise Problem(422, "A photo comes twice: give one caption for each.")
    corrected, stale = service.collection_photos.correct(path.id, changes)
    return json_response(
        CaptionsDocument(
            changed=photo_documents(service, path.id, corrected), refused=photo_documents(service, path.id, stale)
        )
    )


@api.post("/<caption_id:id>/replace", responses={200: ReplacementDocument} | _JSON_PROBLEMS | problem_responses(429))
def replace_in_captions(path: CollectionPath, body: ReplacementBody) -> Response:
    """Search and replace in the captions of all photos, or some. A preview only tells what would change.

    The text is literal, or a regular expression with a time limit. Undo a change by sending `before` of each caption.
    """
    photos = current_service().collection_photos
    current_service().collections.get(path.id)
    replacement = Replacement(
        body.search, body.replacement.replace("\0", ""), body.regular_expression, body.match_case, body.whole_words
    )
    found = list(replace_in(photos.each(path.id, body.photos), replacement))
    versions: dict[int, int] = {}
    problems = {}
    if not body.preview:
        changes = [CaptionChange(r.photo.number, r.text, r.photo.version) for r in found if r.problem is None]
        corrected, stale = photos.correct(path.id, changes)
        versions = {photo.number: photo.version for photo in [*corrected, *stale]}
        problems = {photo.number: "Someone else changed the caption in the meantime." for photo in stale}
    captions = [_replaced_caption(r, versions, problems) for r in found]
    changed = sum(caption.problem is None for caption in captions)
    return json_response(ReplacementDocument(preview=body.preview, changed=changed, captions=captions))


@api.delete(
    "/<caption_id:id>/photos",
    responses={200: CollectionDocument} | problem_responses(401, 429),
    security=SECURITY,
)
def delete_photos(path: CollectionPath, query: DeletionQuery) -> Response:
    """Delete photos with their captions. Numbers of photos that are gone already are passed over."""
    service = current_service()
    service.collection_photos.delete(path.id, query.number)
    return json_response(collection_document(service.collections.get(path.id)))


@api.get("/<caption_id:id>/photos/<int:number>/thumbnail.jpg", responses=picture_responses("image/jpeg"))
def get_collection_thumbnail(path: CollectionPhotoPath, query: ThumbnailQuery) -> Response:
    """Return a small upright copy of a photo, without the camera's metadata, once the photo was read."""
    file = current_service().collections.preview_file(path.id, path.number)
    try:
        return picture_response(read_jpeg(file, query.size), "image/jpeg", _FOREVER)
    except FileNotFoundError as error:
        raise Problem(
            404, f"Photo {path.number} has no thumbnail: it does not exist, cannot be read, or is not captioned yet."
        ) from error


def _document(collection_id: str, photo: CollectionPhoto) -> CollectionPhotoDocument:
    return photo_documents(current_service(), collection_id, [photo])[0]


def _replaced_caption(replaced: Replaced, versions: dict[int, int], problems: dict[int, str]) -> ReplacedCaption:
    """versions, problems: of the photos whose captions were sent to the store."""
    photo = replaced.photo
    return ReplacedCaption(
        number=photo.number,
        name=photo.name,
        before=photo.caption or "",
        after=replaced.text,
        version=versions.get(photo.number, photo.version),
        problem=replaced.problem or problems.get(photo.number),
    )


def _cursor_after(photo: CollectionPhoto, sort: str) -> str:
    if sort == "position":
        return str(photo.number)
    return f"{'' if photo.confidence is None else repr(photo.confidence)}~{photo.number}"


def _read_cursor(cursor: str, sort: str) -> tuple[float | None, int]:
    """Return the confidence and the number of the last photo before a page. Raises Problem (422)."""
    confidence, separator, number = cursor.rpartition("~")
    try:
        if bool(separator) != (sort == "confidence"):
            raise ValueError
        return float(confidence) if confidence else None, int(number)
    except ValueError as error:
        raise Problem(422, "The cursor does not belong to this order: use `next` of the page before.") from error
