"""The shapes of requests and answers: what the OpenAPI document is generated from, and what checks requests."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from captioner.confidence import LIKELY, SURE
from captioner.config import DecodingOptions
from captioner.errors import ConfigError
from service.api.maps import Map, Maps
from service.errors import InvalidPart
from service.store.photos import ID_PATTERN

MAX_BEAM_WIDTH = 20
MAX_WORDS = 50
MAX_SIDE = 2048
"""Of a picture that the service draws, in pixels."""

CaptionId = Annotated[str, Field(pattern=f"^{ID_PATTERN}$", description="The caption's id: 32 hex digits.")]
Probability = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """Options that do not exist are refused."""

    model_config = ConfigDict(extra="forbid")


class CaptionOptions(Strict):
    """How to caption. What is not given is as the captioner's makers found best."""

    beam_width: int | None = Field(
        None, ge=1, le=MAX_BEAM_WIDTH, description="Hypotheses that the beam search keeps; 1 is greedy."
    )
    captions: int = Field(1, ge=1, le=MAX_BEAM_WIDTH, description="How many captions to return, best first.")
    max_words: int | None = Field(None, ge=1, le=MAX_WORDS, description="A caption never has more words than this.")

    def decoding(self, default: DecodingOptions) -> DecodingOptions:
        """A beam is widened to the number of captions, unless its width was given: then ConfigError is raised."""
        if self.beam_width is not None and self.captions > self.beam_width:
            raise ConfigError(
                f"captions ({self.captions}) is more than beam_width ({self.beam_width}) can find: ask for fewer, or"
                " leave beam_width out"
            )
        return DecodingOptions.from_json(
            default.to_json()
            | {
                "beam_width": self.beam_width or max(default.beam_width, self.captions),
                "captions_per_image": self.captions,
                "max_words": self.max_words or default.max_words,
            }
        )


class CaptionQuery(CaptionOptions):
    stream: bool = Field(False, description="1: server-sent events, each word as soon as it is sure.")


class PageQuery(Strict):
    page: int = Field(1, ge=1, le=1_000_000, description="From 1, newest captions first.")
    per_page: int = Field(20, ge=1, le=100)


class CaptionPath(BaseModel):
    id: CaptionId


class OverlayPath(CaptionPath):
    number: int = Field(json_schema_extra={"minimum": 1}, description="Of the word in its caption, from 1.")


class Rank(Strict):
    caption: int = Field(1, ge=1, le=MAX_BEAM_WIDTH, description="Which of the captions: 1 is the best.")


class ImageQuery(Strict):
    size: int | None = Field(None, ge=16, le=MAX_SIDE, description="Longest side in pixels; never enlarged.")


class FigureQuery(Rank):
    maps: Literal["attention", "evidence"] = Field(
        "attention",
        description="What is drawn: attention, where the model looked before it chose each word; or evidence, what"
        " speaks for the word that it chose, computed when it is asked for.",
    )
    style: Literal["smooth", "cells"] = Field("smooth", description="Blend the grid's cells, or draw them as they are.")


class OverlayQuery(FigureQuery):
    opacity: float = Field(0.6, ge=0, le=1, description="Of the hottest place.")
    colour_map: str = Field("inferno", min_length=1, max_length=40, description="A colour map that matplotlib knows.")
    size: int | None = Field(None, ge=16, le=MAX_SIDE, description="Longest side in pixels; by default the photo's.")


class CorrectionBody(Strict):
    # PostgreSQL keeps no null characters, and nobody writes them on purpose.
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True),
        BeforeValidator(lambda text: text.replace("\0", "") if isinstance(text, str) else text),
    ] = Field(min_length=1, max_length=500, pattern=r"\S", description="The caption as a person would have written it.")


class Correction(BaseModel):
    text: str
    corrected_at: datetime


Confidence = Annotated[
    Probability | None,
    Field(description="Calibrated probability of being right, by what people say of such photos; null if unknown."),
]
Wording = Annotated[
    Literal["sure", "likely", "guess"] | None,
    Field(description=f"What the confidence is called: sure from {SURE}, likely from {LIKELY}, else guess."),
]


class WordDocument(BaseModel):
    text: str
    probability: Probability = Field(description="Of this word, given those before it.")
    confidence: Confidence = Field(
        description="Calibrated probability that a person would use this noun, verb, adjective or number of the photo;"
        " null for other words, and if the captioner has no confidence model."
    )
    wording: Wording
    gate: float = Field(ge=0, le=1, description="How much of what it saw the model let through for this word.")
    spread: float = Field(
        ge=0, le=1, description="Over which share of the photo its map is spread; near 1 it looked everywhere."
    )
    overlay: str = Field(description="Address of a picture: where the model looked for this word, on the photo.")
    label: str | None = Field(
        None, description="Name of the label of the photo that the word came from; null where it came from none."
    )
    map_of: Literal["attention", "label"] = Field(
        "attention",
        description="What the overlay shows: where the model looked or, where that points away from the thing that the"
        " label names, the class activation map of the label.",
    )
    label_map: Map | None = Field(None, description="That class activation map; it sums to 1.")


class Alphas(BaseModel):
    """Where the model looked: the attention weights of each word over the grid of locations."""

    rows: int
    columns: int
    maps: Maps = Field(description="One map for each word, in the words' order.")


class Evidence(BaseModel):
    """What speaks for each word, told once the word is known: by how much hiding a place makes the word less likely.

    It is not where the model looked: that is `alphas`.
    """

    rows: int
    columns: int
    maps: Maps = Field(
        description="One map for each word, in the words' order; where no place speaks for a word, all have the same."
    )


class LabelDocument(BaseModel):
    name: str
    probability: Probability = Field(description="Among all classes of the encoder's classifier.")


class RankedCaption(BaseModel):
    caption: str
    probability: Probability = Field(description="Of the whole caption, its end included.")
    confidence: Confidence = Field(
        description="Calibrated probability that all nouns of the caption are right; null if the captioner has no"
        " confidence model."
    )
    wording: Wording
    words: list[WordDocument]
    alphas: Alphas
    figure: str = Field(description="Address of a picture: the photo, then for each word where the model looked.")


class WarningDocument(BaseModel):
    """A reason to doubt the captions of a photo."""

    kind: str = Field(
        description="cut_short: the file ends too early; blank: the picture shows nothing; text: it is a page of text."
        " There may be others later."
    )
    message: str = Field(description="One sentence for people.")


Warnings = Annotated[
    list[WarningDocument],
    Field(description="Reasons to doubt the captions; none for ordinary photos, and for captions of older versions."),
]


class ImageSummary(BaseModel):
    width: int = Field(description="Of the upright photo, in pixels.")
    height: int
    url: str
    thumbnail: str = Field(description="Address of a small copy.")


class ImageDocument(ImageSummary):
    seen_box: list[float] = Field(
        min_length=4,
        max_length=4,
        description="Left, top, right, bottom of the part that the model saw, in pixels of the upright photo.",
    )


class ModelReference(BaseModel):
    version: str


class OptionsDocument(BaseModel):
    beam_width: int
    captions: int
    max_words: int


class Seconds(BaseModel):
    """What took how long."""

    decode_image: float
    queue: float
    encode: float
    decode_words: float


class CaptionDocument(RankedCaption):
    id: CaptionId
    created_at: datetime
    labels: list[LabelDocument] = Field(
        description="What the encoder's own classifier takes the photo for, likeliest first; empty where the captioner"
        " does not use it."
    )
    warnings: Warnings
    image: ImageDocument
    alternatives: list[RankedCaption] = Field(description="The other captions that were asked for, best first.")
    model: ModelReference
    options: OptionsDocument
    seconds: Seconds
    correction: Correction | None


class CaptionSummaryDocument(BaseModel):
    id: CaptionId
    created_at: datetime
    caption: str
    probability: Probability
    confidence: Confidence
    wording: Wording
    warnings: Warnings
    image: ImageSummary
    correction: Correction | None


class CaptionPage(BaseModel):
    captions: list[CaptionSummaryDocument]
    page: int
    per_page: int
    total: int
    pages: int


class Liveness(BaseModel):
    status: Literal["alive"]


class ReadinessDocument(BaseModel):
    status: Literal["ready", "limited"] = Field(
        description="limited: photos are captioned, but what `errors` names keeps the service from doing all else."
    )
    errors: list[InvalidPart]


class ModelDocument(BaseModel):
    """The captioner that is in use."""

    version: str = Field(description="Differs between any two captioners that may caption differently.")
    name: str
    encoder: str
    image_size: int = Field(description="Side of the square that the model sees, in pixels.")
    fit: str = Field(description="How a photo becomes that square: squash, crop or pad.")
    attention: Literal["soft", "hard", "none"] = Field(
        description="What it reads for each word: soft, an average over its map; hard, one place; none, no map at all."
    )
    grid: list[int] = Field(min_length=2, max_length=2, description="Rows and columns of an attention map.")
    words: int = Field(description="How many words it knows.")
    decoding: dict[str, Any] = Field(description="The options that its makers found best.")
    scores: dict[str, Any] = Field(description="What was measured of it, by split.")
    card: str = Field(description="The model card, in Markdown.")
    device: str
