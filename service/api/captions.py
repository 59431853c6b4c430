"""Captions of photos: create, list, correct and delete them."""

import json
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from captioner.captioner import Caption
from captioner.config import DecodingOptions
from captioner.text.counting import counted
from service.api.operations import SECURITY, current_service, json_response
from service.api.schema_parts import event_stream
from service.api.schemas import (
    CaptionDocument,
    CaptionPage,
    CaptionPath,
    CaptionQuery,
    Correction,
    CorrectionBody,
    PageQuery,
    StoredQuery,
)
from service.api.serializers import caption_document, correction_document, streamed_words, summary_document
from service.api.uploads import read_upload, request_body
from service.errors import Problem, problem_of, problem_responses
from service.inference.captioning import CaptionService, PendingCaption
from service.inference.documents import captions_of
from service.store.captions import StoredCaption

api = APIBlueprint(
    "captions",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="captions", description="Captions of photos, with an attention map for each word.")],
    abp_responses=problem_responses(422),
)

_CREATED_RESPONSES = {
    201: CaptionDocument,
    200: event_stream(
        "With stream=1: events `image`, `word` (one for each word), then `caption` or `problem`.",
        "image", "word", "caption", "problem",
    ),
}  # fmt: skip


@api.post(
    "",
    responses=_CREATED_RESPONSES | problem_responses(400, 413, 415, 429, 503, 507),
    openapi_extensions={"requestBody": request_body()},
)
def caption_photo(query: CaptionQuery) -> Response:
    """Caption a photo.

    Send the photo as the file `image` of a form, as the request body, or in base64 as JSON.
    Pass options in the query string, or in the body next to the photo.
    """
    service = current_service()
    upload = read_upload(request, query)
    options = upload.options.decoding(service.serving.captioner.decoding)
    language = upload.options.language
    if language is not None:
        service.translators.load(language)  # an unknown language is refused before the photo is captioned
    if query.stream:
        return _stream_caption(service, upload.data, options, language)
    pending = service.begin(upload.data, options)
    del upload  # frees the upload while the request waits
    entry = service.finish(pending)
    response = json_response(_translated_document(service, entry, language), 201)
    response.headers["Location"] = f"/api/captions/{entry.id}"
    return response


@api.get("", responses={200: CaptionPage})
def list_captions(query: PageQuery) -> Response:
    """List the captions, newest first."""
    entries, total = current_service().store.page(query.page, query.per_page)
    return json_response(
        CaptionPage(
            captions=[summary_document(entry) for entry in entries],
            page=query.page,
            per_page=query.per_page,
            total=total,
            pages=-(-total // query.per_page),
        )
    )


@api.get("/<caption_id:id>", responses={200: CaptionDocument} | problem_responses(404, 429, 503))
def get_caption(path: CaptionPath, query: StoredQuery) -> Response:
    """Return one caption as it was created, with its correction.

    With `language`, its captions are translated now: translations are not stored.
    """
    return json_response(_translated_document(current_service(), find(path.id), query.language))


@api.delete("/<caption_id:id>", responses={204: None} | problem_responses(401, 404, 429), security=SECURITY)
def delete_caption(path: CaptionPath) -> Response:
    """Delete a caption, its photo and its correction."""
    if not current_service().delete(path.id):
        raise caption_not_found(path.id)
    return Response(status=204)


@api.put("/<caption_id:id>/correction", responses={200: Correction} | problem_responses(400, 404, 415))
def correct_caption(path: CaptionPath, body: CorrectionBody) -> Response:
    """Store what the caption should have been. Corrections can be used for training."""
    return json_response(correction_document(_set_correction(path.id, body.text)))


@api.delete("/<caption_id:id>/correction", responses={204: None} | problem_responses(404))
def take_correction_back(path: CaptionPath) -> Response:
    """Remove a correction."""
    _set_correction(path.id, None)
    return Response(status=204)


def find(caption_id: str) -> StoredCaption:
    """Return the caption with this id. Raises Problem (404) if there is none."""
    entry = current_service().store.get(caption_id)
    if entry is None:
        raise caption_not_found(caption_id)
    return entry


def find_ranked(caption_id: str, rank: int) -> tuple[StoredCaption, Caption]:
    """Return a stored photo's entry and its caption of this rank, from 1. Raises Problem (404) if either is missing."""
    entry = find(caption_id)
    captions = captions_of(entry)
    if rank > len(captions):
        raise Problem(
            404, f"Caption {rank} does not exist: the photo has {counted(len(captions), 'caption')}; count from 1."
        )
    return entry, captions[rank - 1]


@contextmanager
def stored_photo(caption_id: str) -> Iterator[None]:
    """Raise Problem (404) if the photo of a caption is missing, as it was deleted a moment ago."""
    try:
        yield
    except FileNotFoundError as error:
        raise caption_not_found(caption_id) from error


def caption_not_found(caption_id: str) -> Problem:
    return Problem(404, f"Caption {caption_id} does not exist: it was deleted, or the id is wrong.")


def _set_correction(caption_id: str, text: str | None) -> StoredCaption:
    entry = current_service().store.correct(caption_id, text)
    if entry is None:
        raise caption_not_found(caption_id)
    return entry


def _translated_document(service: CaptionService, entry: StoredCaption, language: str | None) -> CaptionDocument:
    """Return the document of a caption, translated to `language`; None: without translations."""
    if language is None:
        return caption_document(entry)
    return caption_document(entry, language, service.translators.translate_captions(language, captions_of(entry)))


def _stream_caption(service: CaptionService, data: bytes, options: DecodingOptions, language: str | None) -> Response:
    updates: queue.SimpleQueue[Caption | None] = queue.SimpleQueue()
    pending = service.begin(data, options, on_words=updates.put)
    pending.future.add_done_callback(lambda _: updates.put(None))
    return Response(
        _stream_events(service, pending, updates, language),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _stream_events(
    service: CaptionService,
    pending: PendingCaption,
    updates: "queue.SimpleQueue[Caption | None]",
    language: str | None,
) -> Iterator[str]:
    """Yield the server-sent events of one photo: the image, each word once it is settled, the complete caption."""
    frame, sent_count = pending.frame, 0
    try:
        yield _format_event(
            "image",
            {
                "image": {"width": frame.width, "height": frame.height, "seen_box": list(frame.seen_box)},
                "grid": list(pending.serving.grid),
                "warnings": [warning.to_json() for warning in frame.warnings],
            },
        )
        while (caption := _next_update(updates, pending.deadline)) is not None:
            for word in streamed_words(caption, sent_count):
                yield _format_event("word", word)
            sent_count = max(sent_count, len(caption.words))
        entry = service.finish(pending)
        for word in streamed_words(_best_caption(pending), sent_count):
            yield _format_event("word", word)
        document = _translated_document(service, entry, language)
        yield f"event: caption\ndata: {document.model_dump_json()}\n\n"
    except Exception as error:  # the response has begun, so its status cannot change
        yield f"event: problem\ndata: {problem_of(error).json()}\n\n"
    finally:
        pending.future.cancel()  # the client disconnected: stop decoding


def _next_update(updates: "queue.SimpleQueue[Caption | None]", deadline: float) -> Caption | None:
    """Return the next part of the caption; None at its end or at the deadline, for which `finish` raises the error."""
    try:
        return updates.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None


def _best_caption(pending: PendingCaption) -> Caption:
    return pending.future.result().captions[0]


def _format_event(name: str, values: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(values)}\n\n"
