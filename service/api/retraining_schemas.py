"""The shapes of requests and answers of retraining: data sets, trainings, model versions."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from service.api.schemas import Strict
from service.store.photos import ID_PATTERN
from service.store.versions import VERSION_PATTERN


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
        description="What was found: `advice` in sentences, counts by split, languages (none where there is too little"
        " text to be sure), `rare_words` that a training leaves out of its vocabulary and their share of all words,"
        " words that the captioner in use does not know, photos that are the same or look alike, problems by kind with"
        " their place and how many captions are `lost` by each, samples. Of long lists"
        " the first 100; `counts` and `problem_counts` tell how many there are. `headings` has the heading of each list"
        " and each kind of problem that occurs, in their order; a report of an earlier version has none."
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
    loss: float | None = Field(description="Mean over the epoch, in nats per word; none for epoch 0.")
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
        description="While it runs: stage (starting, encoding, training, validating, calibrating, comparing), done and"
        " total or epoch, epochs, batch, batches, loss, seconds_left."
    )
    seconds: dict[str, float] = Field(description="How long fit, compare and switching took.")
    epochs: list[EpochDocument]
    samples: list[SampleDocument]
    version: str | None = Field(description="The captioner that it made.")
    promoted: bool = Field(description="Whether that serves since, by itself.")


class TrainingList(BaseModel):
    trainings: list[TrainingDocument] = Field(description="Without their epochs and samples.")
