"""Request and response schemas: they validate requests and generate the OpenAPI document."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from captioner.confidence.wording import LIKELY, SURE
from captioner.config import DecodingOptions
from captioner.errors import ConfigError
from service.api.maps import Map, Maps
from service.api.schema_parts import LANGUAGE, Language, Probability, Strict, StrictBody
from service.api.translation_schemas import CaptionTranslation
from service.errors import InvalidPart
from service.store.photos import ID_PATTERN

MAX_BEAM_WIDTH = 20
MAX_WORDS = 50
MAX_SIDE = 2048
"""Largest side of a generated picture, in pixels."""

CaptionId = Annotated[str, Field(pattern=f"^{ID_PATTERN}$", description="The caption's id: 32 hex digits.")]


class CaptionOptions(Strict):
    """Decoding options, by default those of the captioner, and the language of translations."""

    beam_width: int | None = Field(
        None, ge=1, le=MAX_BEAM_WIDTH, description="Number of hypotheses that beam search keeps; 1 is greedy."
    )
    captions: int = Field(1, ge=1, le=MAX_BEAM_WIDTH, description="Number of captions to return, best first.")
    max_words: int | None = Field(None, ge=1, le=MAX_WORDS, description="Maximum length of a caption, in words.")
    language: Language | None = Field(None, description=f"{LANGUAGE} By default, captions are not translated.")

    def decoding(self, default: DecodingOptions) -> DecodingOptions:
        """Return decoding options with a beam at least `captions` wide. Raises ConfigError if beam_width is smaller."""
        if self.beam_width is not None and self.captions > self.beam_width:
            raise ConfigError(
                f"captions ({self.captions}) is larger than beam_width ({self.beam_width}): lower captions, or leave"
                " beam_width out"
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
    stream: bool = Field(False, description="1: server-sent events, each word once all hypotheses agree on it.")


class PageQuery(Strict):
    page: int = Field(1, ge=1, le=1_000_000, description="Number of the page, from 1; newest captions first.")
    per_page: int = Field(20, ge=1, le=100)


class CaptionPath(BaseModel):
    id: CaptionId


class StoredQuery(Strict):
    language: Language | None = Field(None, description=f"{LANGUAGE} By default, captions are not translated.")


class OverlayPath(CaptionPath):
    number: int = Field(json_schema_extra={"minimum": 1}, description="Number of the word in its caption, from 1.")


class Rank(Strict):
    caption: int = Field(1, ge=1, le=MAX_BEAM_WIDTH, description="Rank of the caption: 1 is the best.")


class MatrixQuery(Rank):
    language: Language = Field(description=LANGUAGE)


class ImageQuery(Strict):
    size: int | None = Field(None, ge=16, le=MAX_SIDE, description="Longest side in pixels; never enlarged.")


class FigureQuery(Rank):
    maps: Literal["attention", "evidence"] = Field(
        "attention",
        description="The maps to draw: attention, the weights that led to each word; or evidence, the occlusion map of"
        " each chosen word, computed on demand.",
    )
    style: Literal["smooth", "cells"] = Field("smooth", description="Interpolate the grid, or draw its cells.")


class OverlayQuery(FigureQuery):
    opacity: float = Field(0.6, ge=0, le=1, description="Opacity at the maximum of the map.")
    colour_map: str = Field("inferno", min_length=1, max_length=40, description="Name of a matplotlib colour map.")
    size: int | None = Field(None, ge=16, le=MAX_SIDE, description="Longest side in pixels; by default the photo's.")


class CorrectionBody(StrictBody):
    # PostgreSQL cannot store null characters.
    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True),
        BeforeValidator(lambda text: text.replace("\0", "") if isinstance(text, str) else text),
    ] = Field(min_length=1, max_length=500, pattern=r"\S", description="The correct caption.")


class Correction(BaseModel):
    text: str
    corrected_at: datetime


Confidence = Annotated[
    Probability | None,
    Field(description="Calibrated probability of being right, judged by human captions; null if unknown."),
]
Wording = Annotated[
    Literal["sure", "likely", "guess"] | None,
    Field(description=f"The confidence in words: sure from {SURE}, likely from {LIKELY}, else guess."),
]


class WordFigures(BaseModel):
    """A word of a caption, without its maps of attention."""

    text: str
    probability: Probability = Field(description="Probability of the word, given the words before it.")
    confidence: Confidence = Field(
        description="Calibrated probability that a person would use this noun, verb, adjective or number for the photo;"
        " null for other words, and if the captioner has no confidence model."
    )
    wording: Wording
    gate: float = Field(ge=0, le=1, description="Gating scalar β: weight of the context vector for this word.")
    spread: float = Field(
        ge=0, le=1, description="Share of the photo that the attention map covers; near 1 it is uniform."
    )
    label: str | None = Field(
        None, description="Name of the image label that the word was copied from; null if there is none."
    )
    map_of: Literal["attention", "label"] = Field(
        "attention",
        description="The map to show for the word: attention or, if attention points away from the labelled object,"
        " the class activation map of the label.",
    )
    label_map: Map | None = Field(None, description="The class activation map of the label; it sums to 1.")


class WordDocument(WordFigures):
    overlay: str = Field(description="URL of a picture: the word's map over the photo.")


class Alphas(BaseModel):
    """The attention weights α of each word over the grid of locations."""

    rows: int
    columns: int
    maps: Maps = Field(description="One map for each word, in word order.")


class Evidence(BaseModel):
    """Occlusion maps: how much hiding a location lowers the probability of each chosen word.

    They are not the attention maps, which are `alphas`.
    """

    rows: int
    columns: int
    maps: Maps = Field(description="One map for each word, in word order; uniform if no location supports the word.")


class LabelDocument(BaseModel):
    name: str
    probability: Probability = Field(description="Probability among all classes of the encoder's classifier.")


class RankedCaption(BaseModel):
    caption: str
    probability: Probability = Field(description="Probability of the whole caption, including its end token.")
    confidence: Confidence = Field(
        description="Calibrated probability that all nouns of the caption are right; null if the captioner has no"
        " confidence model."
    )
    wording: Wording
    words: list[WordDocument]
    alphas: Alphas
    figure: str = Field(description="URL of a picture: the photo, then the attention map of each word.")
    translation: CaptionTranslation | None = Field(
        None,
        description="The caption in the requested language; null without `language`, and for a caption without a word"
        " that the translator knows.",
    )


class WarningDocument(BaseModel):
    """A reason to doubt the captions of a photo."""

    kind: str = Field(
        description="cut_short: the file is truncated; blank: the picture is empty; text: it is a page of text."
        " More kinds may be added."
    )
    message: str = Field(description="The reason, in one sentence.")


Warnings = Annotated[
    list[WarningDocument],
    Field(description="Reasons to doubt the captions; empty for ordinary photos and for captions of older versions."),
]


SeenBox = Annotated[
    list[float],
    Field(
        min_length=4,
        max_length=4,
        description="Left, top, right, bottom of the part given to the model, in pixels of the upright photo.",
    ),
]


class ImageSummary(BaseModel):
    width: int = Field(description="Width of the upright photo, in pixels.")
    height: int
    url: str
    thumbnail: str = Field(description="URL of a small copy.")


class ImageDocument(ImageSummary):
    seen_box: SeenBox


class ModelReference(BaseModel):
    version: str


class OptionsDocument(BaseModel):
    beam_width: int
    captions: int
    max_words: int


class Seconds(BaseModel):
    """Duration of each step, in seconds."""

    decode_image: float
    queue: float
    encode: float
    decode_words: float


class CaptionDocument(RankedCaption):
    id: CaptionId
    created_at: datetime
    labels: list[LabelDocument] = Field(
        description="Classes that the encoder's classifier finds in the photo, most probable first; empty if the"
        " captioner does not use them."
    )
    warnings: Warnings
    image: ImageDocument
    alternatives: list[RankedCaption] = Field(description="The other requested captions, best first.")
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
        description="limited: photos are captioned, but the faults in `errors` disable other functions."
    )
    errors: list[InvalidPart]


class ModelDocument(BaseModel):
    """The captioner in use."""

    version: str = Field(description="Version id; captioners that can produce different captions have different ids.")
    name: str
    encoder: str
    image_size: int = Field(description="Side of the square model input, in pixels.")
    fit: str = Field(description="How a photo is fitted to that square: squash, crop or pad.")
    attention: Literal["soft", "hard", "none"] = Field(
        description="Attention of the decoder: soft, a weighted mean of all locations; hard, one location; none."
    )
    grid: list[int] = Field(min_length=2, max_length=2, description="Rows and columns of an attention map.")
    words: int = Field(description="Size of the vocabulary.")
    decoding: dict[str, Any] = Field(description="Its default decoding options.")
    scores: dict[str, Any] = Field(description="Its scores, by split.")
    card: str = Field(description="The model card, in Markdown.")
    device: str
