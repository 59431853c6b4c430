"""The shapes of requests and answers: what the OpenAPI document is generated from, and what checks requests."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from captioner.config import DecodingOptions
from captioner.errors import ConfigError
from service.photos import ID_PATTERN
from service.versions import VERSION_PATTERN

MAX_BEAM_WIDTH = 20
MAX_WORDS = 50
MAX_SIDE = 2048
"""Of a picture that the service draws, in pixels."""

CaptionId = Annotated[str, Field(pattern=f"^{ID_PATTERN}$", description="The caption's id: 32 hex digits.")]
Probability = Annotated[float, Field(ge=0, le=1)]
Map = Annotated[list[list[float]], Field(description="Rows of the grid; the numbers of a map sum to 1.")]


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
    style: Literal["smooth", "cells"] = Field("smooth", description="Blend the grid's cells, or draw them as they are.")


class OverlayQuery(FigureQuery):
    opacity: float = Field(0.6, ge=0, le=1, description="Of the hottest place.")
    colour_map: str = Field("inferno", min_length=1, max_length=40, description="A colour map that matplotlib knows.")
    size: int | None = Field(None, ge=16, le=MAX_SIDE, description="Longest side in pixels; by default the photo's.")


class CorrectionBody(Strict):
    text: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        min_length=1, max_length=500, pattern=r"\S", description="The caption as a person would have written it."
    )


class Correction(BaseModel):
    text: str
    corrected_at: datetime


class WordDocument(BaseModel):
    text: str
    probability: Probability = Field(description="Of this word, given those before it.")
    gate: float = Field(ge=0, le=1, description="How much of what it saw the model let through for this word.")
    overlay: str = Field(description="Address of a picture: where the model looked for this word, on the photo.")


class Alphas(BaseModel):
    """Where the model looked: the attention weights of each word over the grid of locations."""

    rows: int
    columns: int
    maps: list[Map] = Field(description="One map for each word, in the words' order.")


class RankedCaption(BaseModel):
    caption: str
    probability: Probability = Field(description="Of the whole caption, its end included.")
    words: list[WordDocument]
    alphas: Alphas
    figure: str = Field(description="Address of a picture: the photo, then for each word where the model looked.")


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
    image: ImageSummary
    correction: Correction | None


class CaptionPage(BaseModel):
    captions: list[CaptionSummaryDocument]
    page: int
    per_page: int
    total: int
    pages: int


class Health(BaseModel):
    status: Literal["alive", "ready"]


class ModelDocument(BaseModel):
    """The captioner that is in use."""

    version: str = Field(description="Differs between any two captioners that may caption differently.")
    name: str
    encoder: str
    image_size: int = Field(description="Side of the square that the model sees, in pixels.")
    fit: str = Field(description="How a photo becomes that square: squash, crop or pad.")
    grid: list[int] = Field(min_length=2, max_length=2, description="Rows and columns of an attention map.")
    words: int = Field(description="How many words it knows.")
    decoding: dict[str, Any] = Field(description="The options that its makers found best.")
    scores: dict[str, Any] = Field(description="What was measured of it, by split.")
    card: str = Field(description="The model card, in Markdown.")
    device: str


class VersionPath(BaseModel):
    version: str = Field(pattern=f"^({VERSION_PATTERN})$", description="Twelve hex digits, or built-in.")


class VersionPhotoPath(VersionPath):
    number: int = Field(json_schema_extra={"minimum": 0}, description="Of the photo, from 0.")


class Named(BaseModel):
    id: str
    name: str


class VersionDocument(BaseModel):
    """A captioner that the service can use."""

    version: str = Field(description="What its captions carry; the built-in one is called built-in here.")
    name: str
    origin: Literal["built-in", "training", "upload"]
    created_at: datetime | None = None
    current: bool = Field(description="Whether it answers now.")
    words: int = Field(description="How many words it knows.")
    card: str = Field(description="The model card, in Markdown.")
    compared: bool = Field(description="Whether there is a comparison with the captioner that was in use before it.")
    training: str | None = Field(None, description="The id of the training that made it.")
    dataset: Named | None = Field(None, description="What it learned from.")
    started_from: str | None = Field(None, description="The version that it went on from, or scratch.")
    compared_with: str | None = Field(None, description="The version that was in use when it was made.")
    options: dict[str, Any] | None = Field(None, description="All options of the training.")
    scores: dict[str, Any] | None = Field(
        None,
        description="Of the new and the old captioner on held-out photos: of the new data, and of the earlier data"
        " where it was replayed.",
    )


class VersionList(BaseModel):
    models: list[VersionDocument]


class DataSetPath(BaseModel):
    id: str = Field(pattern=f"^{ID_PATTERN}$", description="The data set's id: 32 hex digits.")


class ThumbnailPath(DataSetPath):
    number: int = Field(json_schema_extra={"minimum": 0}, description="Of the sample, from 0.")


DataSetName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^/\\\x00-\x1f]+$")
]


class DataSetQuery(Strict):
    name: DataSetName | None = Field(None, description="What to call it; by default as its file or folder is called.")


class DataSetSource(Strict):
    """A data set that is on the server already: one of the two."""

    folder: str | None = Field(
        None, min_length=1, max_length=4096, description="A folder or caption file below CAPTIONER_IMPORT_ROOT."
    )
    corrections: bool = Field(False, description="Every caption that was corrected, with its photo.")
    name: DataSetName | None = Field(None, description="What to call it.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.folder is None) != self.corrections:
            raise ValueError("give either folder, or corrections as true")
        return self


class DataSetSummary(BaseModel):
    """A data set that was brought."""

    id: str
    name: str
    origin: Literal["zip", "folder", "corrections"]
    created_at: datetime
    usable: bool = Field(description="Whether it can be trained on.")
    images: int
    captions: int


class DataSetDocument(DataSetSummary):
    report: dict[str, Any] = Field(
        description="What was found: `advice` in sentences, counts by split, languages, words that the captioner in use"
        " does not know, photos that are the same or look alike, what was refused and where, samples. Of long lists the"
        " first 100; `counts` and `problem_counts` tell how many there are."
    )


class DataSetList(BaseModel):
    datasets: list[DataSetSummary]


class TrainingPath(BaseModel):
    id: str = Field(pattern=f"^{ID_PATTERN}$", description="The training's id: 32 hex digits.")


class SamplePath(TrainingPath):
    number: int = Field(json_schema_extra={"minimum": 0}, description="Of the photo, from 0.")


class TrainingBody(Strict):
    """What to train, on what, from where, and how much."""

    dataset: str = Field(pattern=f"^{ID_PATTERN}$", description="The id of the data set to learn from.")
    replay: str | None = Field(
        None,
        pattern=f"^{ID_PATTERN}$",
        description="The id of the data that the captioner learned from before: mixed in, so that it does not forget.",
    )
    start: str = Field(
        "current",
        pattern=f"^(current|scratch|{VERSION_PATTERN})$",
        description="The captioner to go on from: current, a version, or scratch for none.",
    )
    preset: Literal["quick", "thorough"] | None = Field("quick", description="How much to learn.")
    options: dict[str, int | float | bool | str] = Field(
        default_factory=dict,
        max_length=100,
        description="Options of `python -m training fit` by name, which go before the preset's, such as epochs.",
    )
    promote_margin: float | None = Field(
        None,
        ge=-100,
        le=100,
        description="Let it serve by itself where its CIDEr on held-out photos is better by so much.",
    )


class EpochDocument(BaseModel):
    """What an epoch came to; number 0 is the captioner that the training went on from."""

    epoch: int
    phase: str
    loss: float | None = Field(description="Mean over the epoch, in nats a caption; none for epoch 0.")
    CIDEr: float = Field(description="On the validation photos, as are the other scores.")
    Bleu_1: float
    Bleu_4: float
    best: bool = Field(description="Whether it was the best so far.")


class SampleCaption(BaseModel):
    epoch: int
    text: str


class SampleDocument(BaseModel):
    """A validation photo with what the captioner in the making said of it after each epoch."""

    photo: str
    references: list[str]
    captions: list[SampleCaption]


class TrainingDocument(BaseModel):
    """A training and where it stands."""

    id: str
    created_at: datetime
    dataset: Named
    replay: Named | None
    start: str = Field(description="The version that it goes on from, or scratch.")
    preset: str | None
    options: dict[str, Any] = Field(description="All of them.")
    promote_margin: float | None
    state: Literal["queued", "running", "finished", "failed", "cancelled"]
    position: int | None = Field(description="Its place among those that wait: 1 is next.")
    message: str | None = Field(description="Why it failed.")
    stopping: bool = Field(description="Whether it was cancelled and is about to stop.")
    started_at: float | None = Field(description="Seconds since 1970.")
    ended_at: float | None
    progress: dict[str, Any] | None = Field(
        description="While it runs: stage (starting, encoding, training, validating, comparing), done and total or"
        " epoch, epochs, batch, batches, loss, seconds_left."
    )
    seconds: dict[str, float] = Field(description="How long fit, compare and switching took.")
    epochs: list[EpochDocument]
    samples: list[SampleDocument]
    version: str | None = Field(description="The captioner that it made.")
    promoted: bool = Field(description="Whether that serves since, by itself.")


class TrainingList(BaseModel):
    trainings: list[TrainingDocument] = Field(description="Without their epochs and samples.")
