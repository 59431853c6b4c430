"""Captions: made of a photo, kept, listed, corrected, deleted."""

import json
import queue
import time
from collections.abc import Iterator
from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag

from captioner.captioner import Caption
from captioner.config import DecodingOptions
from captioner.counting import counted
from service.api.operations import SECURITY, current_service, json_response
from service.api.schemas import (
    CaptionDocument,
    CaptionPage,
    CaptionPath,
    CaptionQuery,
    Correction,
    CorrectionBody,
    PageQuery,
)
from service.api.serializers import caption_document, correction_document, streamed_words, summary_document
from service.api.uploads import read_upload, request_body
from service.errors import Problem, described, problem_of
from service.inference.captioning import Begun, CaptionService
from service.inference.documents import captions_of
from service.store.captions import StoredCaption

api = APIBlueprint(
    "captions",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="captions", description="A sentence for a photo, and where the model looked for every word.")],
    abp_responses=described(422),
)

_MADE = {
    201: CaptionDocument,
    200: {
        "description": "With stream=1: events `image`, `word` (one for each word), then `caption` or `problem`.",
        "content": {
            "text/event-stream": {
                "schema": {
                    "type": "object",
                    "description": "Each event.",
                    "properties": {
                        "event": {"enum": ["image", "word", "caption", "problem"]},
                        "data": {"type": "string", "contentMediaType": "application/json"},
                    },
                    "required": ["event", "data"],
                }
            }
        },
    },
}


@api.post(
    "",
    responses=_MADE | described(400, 413, 415, 429, 503, 507),
    openapi_extensions={"requestBody": request_body()},
)
def caption_photo(query: CaptionQuery) -> Response:
    """Caption a photo.

    Send it as the file `image` of a form, as the body itself, or as JSON in base64.
    Options may stand in the address, or beside the photo.
    """
    service = current_service()
    upload = read_upload(request, query)
    options = upload.options.decoding(service.serving.captioner.decoding)
    if query.stream:
        return _streamed(service, upload.data, options)
    begun = service.begin(upload.data, options)
    del upload  # a request that waits need not hold its upload
    entry = service.finish(begun)
    response = json_response(caption_document(entry), 201)
    response.headers["Location"] = f"/api/captions/{entry.id}"
    return response


@api.get("", responses={200: CaptionPage})
def list_captions(query: PageQuery) -> Response:
    """The captions that were made, newest first."""
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


@api.get("/<caption_id:id>", responses={200: CaptionDocument} | described(404))
def get_caption(path: CaptionPath) -> Response:
    """One caption, as it was when it was made, with its correction."""
    return json_response(caption_document(find(path.id)))


@api.delete("/<caption_id:id>", responses={204: None} | described(401, 404, 429), security=SECURITY)
def delete_caption(path: CaptionPath) -> Response:
    """Forget a caption, its photo and its correction."""
    if not current_service().delete(path.id):
        raise missing(path.id)
    return Response(status=204)


@api.put("/<caption_id:id>/correction", responses={200: Correction} | described(400, 404, 415))
def correct_caption(path: CaptionPath, body: CorrectionBody) -> Response:
    """Say what the caption should have been. It is kept for training."""
    return json_response(correction_document(_corrected(path.id, body.text)))


@api.delete("/<caption_id:id>/correction", responses={204: None} | described(404))
def take_correction_back(path: CaptionPath) -> Response:
    """Take a correction back."""
    _corrected(path.id, None)
    return Response(status=204)


def find(caption_id: str) -> StoredCaption:
    """The entry of an id. Raises Problem (404)."""
    entry = current_service().store.get(caption_id)
    if entry is None:
        raise missing(caption_id)
    return entry


def find_ranked(caption_id: str, rank: int) -> tuple[StoredCaption, Caption]:
    """The entry of an id, and of its captions the `rank`th, from 1. Raises Problem (404)."""
    entry = find(caption_id)
    captions = captions_of(entry)
    if rank > len(captions):
        raise Problem(
            404, f"The photo has {counted(len(captions), 'caption')}, and there is no caption {rank}: count from 1."
        )
    return entry, captions[rank - 1]


def missing(caption_id: str) -> Problem:
    return Problem(404, f"There is no caption {caption_id}: it was deleted, or never made.")


def _corrected(caption_id: str, text: str | None) -> StoredCaption:
    entry = current_service().store.correct(caption_id, text)
    if entry is None:
        raise missing(caption_id)
    return entry


def _streamed(service: CaptionService, data: bytes, options: DecodingOptions) -> Response:
    parts: queue.SimpleQueue[Caption | None] = queue.SimpleQueue()
    begun = service.begin(data, options, watch=parts.put)
    begun.future.add_done_callback(lambda _: parts.put(None))
    return Response(
        _events(service, begun, parts),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _events(service: CaptionService, begun: Begun, parts: "queue.SimpleQueue[Caption | None]") -> Iterator[str]:
    """Server-sent events of one photo: what is known of it, its words as they become sure, the whole caption."""
    frame, sent = begun.frame, 0
    try:
        yield _event(
            "image",
            {
                "image": {"width": frame.width, "height": frame.height, "seen_box": list(frame.seen_box)},
                "grid": list(begun.serving.grid),
                "warnings": [warning.to_json() for warning in frame.warnings],
            },
        )
        while (part := _next(parts, begun.deadline)) is not None:
            for word in streamed_words(part, sent):
                yield _event("word", word)
            sent = max(sent, len(part.words))
        entry = service.finish(begun)
        document = caption_document(entry)
        for word in streamed_words(_best(begun), sent):
            yield _event("word", word)
        yield f"event: caption\ndata: {document.model_dump_json()}\n\n"
    except Exception as error:  # the answer has begun: its status cannot tell any more
        yield f"event: problem\ndata: {problem_of(error).json()}\n\n"
    finally:
        begun.future.cancel()  # the reader has left: nobody needs the rest


def _next(parts: "queue.SimpleQueue[Caption | None]", deadline: float) -> Caption | None:
    """The next part of the caption; None when there are no more, or the deadline has come (`finish` will say so)."""
    try:
        return parts.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        return None


def _best(begun: Begun) -> Caption:
    return begun.future.result().captions[0]


def _event(name: str, values: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(values)}\n\n"
