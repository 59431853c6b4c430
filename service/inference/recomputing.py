"""Stored captions as inputs of computations on demand, which need the captioner that made them."""

from captioner.captioner import Caption
from captioner.config import DecodingOptions
from service.inference.documents import captions_of
from service.inference.switching import Serving
from service.store.captions import StoredCaption

MAX_WAITING = 8
"""Maximum number of requests that wait for computations on demand: half of the drawing threads."""


class DifferentCaptioner(Exception):
    """The caption was made by another captioner than the one in use, so its numbers cannot be recomputed."""

    def __init__(self, caption_id: str, numbers: str) -> None:
        super().__init__(
            f"caption {caption_id} has no {numbers}, because another captioner made it than the one in use:"
            " caption the photo again"
        )


def stored_caption(serving: Serving, entry: StoredCaption, rank: int, numbers: str) -> tuple[Caption, DecodingOptions]:
    """Return a stored caption and the options that it was decoded with.

    rank: from 1, the best. numbers: name of what is computed, for errors.
    Raises DifferentCaptioner.
    """
    if entry.model_version != serving.model_version:
        raise DifferentCaptioner(entry.id, numbers)
    return captions_of(entry)[rank - 1], DecodingOptions.from_json(entry.document["options"])
