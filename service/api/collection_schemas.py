"""Request and response schemas of collections and their photos."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from captioner.exports import EXPORT_FORMATS
from service.api.retraining_schemas import DataSetDocument, DataSetName
from service.api.schema_parts import Strict, StrictBody
from service.api.schemas import MAX_SIDE, Alphas, Confidence, SeenBox, Warnings, WordFigures, Wording
from service.store.collection_photos import MAX_CAPTION, clean_caption
from service.store.collections import MAX_PHOTOS
from service.store.photos import ID_PATTERN

MAX_CHANGES = 10_000
"""Maximum number of captions that one request changes."""
MAX_PAGE = 500
MAX_NUMBER = 2_000_000_000
"""Largest number that every database stores."""

PhotoNumber = Annotated[int, Field(ge=1, le=MAX_NUMBER, description="Number of the photo in its collection.")]
CaptionText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_CAPTION),
    BeforeValidator(lambda text: clean_caption(text) if isinstance(text, str) else text),
]
CollectionName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]+$")
]


class CollectionPath(BaseModel):
    id: str = Field(pattern=f"^{ID_PATTERN}$", description="The collection's id: 32 hex digits.")


class CollectionPhotoPath(CollectionPath):
    number: int = Field(
        le=MAX_NUMBER, json_schema_extra={"minimum": 1}, description="Number of the photo in its collection."
    )


class CollectionQuery(Strict):
    name: CollectionName | None = Field(None, description="Its name; by default the name of the first file.")


class NameBody(StrictBody):
    name: CollectionName = Field(description="Its new name.")


class CollectionDocument(BaseModel):
    """A collection: photos that are captioned in the background."""

    id: str
    name: str
    created_at: datetime
    state: Literal["captioning", "cancelled", "done"] = Field(
        description="captioning: photos wait, and are captioned; cancelled: photos wait, and are not; done: none waits."
    )
    photos: int = Field(description="Number of photos.")
    waiting: int = Field(description="Number of photos that wait to be captioned.")
    captioned: int = Field(description="Number of photos that the captioner has captioned.")
    failed: int = Field(description="Number of photos that cannot be captioned.")
    corrected: int = Field(description="Number of photos whose caption a person wrote.")
    seconds_left: float | None = Field(
        description="Estimated time until no photo waits; null if it is unknown, or nothing is being captioned."
    )
    bytes: int = Field(description="Size of the photos as they were sent.")
    revision: int = Field(description="Grows with every change of the collection or its photos.")


class LeftOutDocument(BaseModel):
    name: str
    reason: str = Field(description="Why it is not in the collection.")


class AdditionDocument(CollectionDocument):
    """A collection, and what an upload added to it."""

    added: int = Field(description="Number of photos that were added.")
    known: int = Field(description="Number of photos with the name and content of one that was there before.")
    left_out: list[LeftOutDocument] = Field(description="Files that are no photos, such as texts: the first 100.")
    left_out_count: int = Field(description="Number of files that are no photos.")


class CollectionList(BaseModel):
    collections: list[CollectionDocument]


class CollectionPhotoDocument(BaseModel):
    number: int = Field(description="Its position in the collection. A number is never used again.")
    name: str = Field(description="Its name as it was sent, with its folders.")
    state: Literal["waiting", "captioned", "failed"]
    reason: str | None = Field(description="Why it cannot be captioned; null if it did not fail.")
    caption: str | None = Field(
        description="The caption that stands: the one that a person wrote, or else the one that the captioner made."
    )
    generated: str | None = Field(description="The caption that the captioner made.")
    corrected: bool = Field(description="Whether a person wrote the caption.")
    corrected_at: datetime | None
    version: int = Field(description="Counts the changes by people. Send it with the next change.")
    confidence: Confidence = Field(description="Of `generated`.")
    wording: Wording
    warnings: Warnings
    model: str | None = Field(description="Version of the captioner that made `generated`.")
    width: int | None = Field(description="Width of the upright photo, in pixels; null until it was read.")
    height: int | None
    bytes: int = Field(description="Size of its file.")
    same_as: int | None = Field(description="Number of the first photo with the same content, if that is another one.")
    thumbnail: str = Field(description="URL of a small copy, which exists once the photo was captioned.")
    revision: int = Field(description="Revision of the collection at its last change.")


class CollectionWordsDocument(BaseModel):
    """The words of the captioner's caption, with the maps that led to them."""

    caption: str
    confidence: Confidence
    wording: Wording
    words: list[WordFigures]
    alphas: Alphas
    width: int = Field(description="Width of the upright photo, in pixels.")
    height: int
    seen_box: SeenBox


class CollectionPhotoQuery(Strict):
    state: Literal["waiting", "captioned", "failed"] | None = Field(None, description="Only photos in this state.")
    corrected: bool | None = Field(
        None, description="true: only photos whose caption a person wrote; false: only the others."
    )
    search: str | None = Field(
        None, max_length=200, description="Only photos with all of these words in the caption or the name."
    )
    sort: Literal["position", "confidence"] = Field(
        "position", description="confidence: least sure first; photos without a confidence come last."
    )
    limit: int = Field(100, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(
        None,
        pattern=r"^([0-9.e-]{0,30}~)?[0-9]{1,10}$",
        description="`next` of the page before; by default, the first page.",
    )


class CollectionPhotoPage(BaseModel):
    photos: list[CollectionPhotoDocument]
    next: str | None = Field(description="The `cursor` of the next page; null on the last one.")


class DeletedPhotos(BaseModel):
    """Data of the event `deleted`."""

    numbers: list[int]


class ThumbnailQuery(Strict):
    size: int = Field(320, ge=16, le=MAX_SIDE, description="Longest side in pixels; never enlarged.")


class DeletionQuery(Strict):
    number: list[PhotoNumber] = Field(min_length=1, max_length=1000, description="Numbers of the photos, each once.")


class CaptionBody(StrictBody):
    """A caption that a person wrote."""

    caption: CaptionText | None = Field(
        description="null takes back what people wrote: the captioner's caption stands."
    )
    version: int = Field(ge=0, le=MAX_NUMBER, description="`version` of the photo as you saw it.")


class NumberedCaption(CaptionBody):
    number: PhotoNumber


class CaptionsBody(StrictBody):
    """Captions that a person wrote."""

    captions: list[NumberedCaption] = Field(min_length=1, max_length=MAX_CHANGES)


class CaptionsDocument(BaseModel):
    changed: list[CollectionPhotoDocument] = Field(description="Photos with their new captions.")
    refused: list[CollectionPhotoDocument] = Field(
        description="Photos whose captions someone else changed in the meantime. They are as before."
    )


class ReplacementBody(StrictBody):
    """A search in captions, and its replacement."""

    search: str = Field(min_length=1, max_length=200)
    replacement: str = Field("", max_length=500)
    regular_expression: bool = Field(
        False, description="Whether `search` is one; `replacement` may then name its groups: \\1, \\g<name>."
    )
    match_case: bool = False
    whole_words: bool = False
    photos: list[PhotoNumber] | None = Field(
        None, max_length=MAX_PHOTOS, description="Numbers of the photos to search; by default, all."
    )
    preview: bool = Field(False, description="true: only tell what would change.")


class ReplacedCaption(BaseModel):
    number: int
    name: str
    before: str
    after: str
    version: int = Field(description="`version` of the photo: before the change in a preview, else after it.")
    problem: str | None = Field(description="Why this caption is not changed; null if it is.")


class ReplacementDocument(BaseModel):
    preview: bool
    changed: int = Field(description="Number of captions that are changed, or would be in a preview.")
    captions: list[ReplacedCaption] = Field(description="All captions in which something was found.")


class CaptionAgainBody(StrictBody):
    photos: Literal["all", "failed", "waiting"] = Field(
        "all",
        description="all: every photo whose caption no person wrote; failed: those that could not be captioned;"
        " waiting: only those that were not captioned before a cancellation.",
    )


class CollectionDataSetBody(StrictBody):
    """Which captions to train on: those that people wrote, and others if you give a confidence."""

    name: DataSetName | None = Field(None, description="Name of the data set; by default that of the collection.")
    min_confidence: float | None = Field(
        None, ge=0, le=1, description="Also use captions of the captioner with at least this confidence."
    )


class CollectionDataSetDocument(BaseModel):
    dataset: DataSetDocument
    corrected: int = Field(description="Number of captions in it that people wrote.")
    uncorrected: int = Field(description="Number of captions in it that the captioner made.")
    page: str = Field(description="URL of the page that trains on it.")


class ExportQuery(Strict):
    format: Literal[tuple(EXPORT_FORMATS)] = Field(
        description="txt and caption: a text beside each photo; metadata: metadata.jsonl of Hugging Face's imagefolder;"
        " coco: captions JSON to train on; webdataset: a tar; html: a page with alternative texts; xmp: copies of the"
        " photos with XMP and IPTC captions."
    )
    photos: bool = Field(
        False, description="Put the photos beside the captions, in one zip. webdataset and xmp always hold them."
    )
    corrected: bool = Field(False, description="true: only captions that people wrote.")
    prefix: str = Field("", max_length=500, description="Text before each caption of txt and caption.")
    suffix: str = Field("", max_length=500, description="Text after each caption of txt and caption.")


class EventsQuery(Strict):
    since: int | None = Field(
        None, ge=0, le=MAX_NUMBER, description="Also send photos that changed after this revision."
    )
