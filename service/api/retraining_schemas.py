"""Request and response schemas of retraining: data sets, trainings, model versions."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from service.api.schema_parts import Language, Strict, StrictBody
from service.store.photos import ID_PATTERN
from service.store.versions import VERSION_PATTERN


class VersionPath(BaseModel):
    version: str = Field(pattern=f"^({VERSION_PATTERN})$", description="The model version: 12 hex digits, or built-in.")


class VersionPhotoPath(VersionPath):
    number: int = Field(json_schema_extra={"minimum": 0}, description="Number of the photo, from 0.")


class Named(BaseModel):
    id: str
    name: str


class VersionDocument(BaseModel):
    """A model version: a captioner or a translator that the service can use."""

    version: str = Field(description="The version id, which the captions of a captioner carry, or built-in.")
    kind: Literal["captioner", "translator"]
    source: str | None = Field(None, description="Language that a translator reads.")
    language: str | None = Field(None, description="Language that a translator writes: `language` in requests.")
    name: str
    origin: Literal["built-in", "training", "upload"]
    created_at: datetime | None = None
    current: bool = Field(description="Whether it is the version in use.")
    words: int = Field(description="Size of its vocabulary; of a translator, the number of pieces that it writes.")
    card: str = Field(description="The model card, in Markdown.")
    compared: bool = Field(description="Whether a comparison with the previous version exists.")
    training: str | None = Field(None, description="The id of the training that produced it.")
    dataset: Named | None = Field(None, description="The data set that it was trained on.")
    started_from: str | None = Field(None, description="The version that its training started from, or scratch.")
    compared_with: str | None = Field(
        None, description="The version in use when it was trained; null for the first translator to a language."
    )
    options: dict[str, Any] | None = Field(None, description="All options of the training.")
    scores: dict[str, Any] | None = Field(
        None,
        description="Scores of the new and the previous version on held-out photos or pairs of the new data, and of the"
        " replayed data if there was any. `old` is null for the first translator to a language.",
    )


class VersionList(BaseModel):
    models: list[VersionDocument]


class RollbackQuery(Strict):
    language: Language | None = Field(
        None, description="Roll back the translator to this language. By default, the captioner."
    )


class DataSetPath(BaseModel):
    id: str = Field(pattern=f"^{ID_PATTERN}$", description="The data set's id: 32 hex digits.")


class ThumbnailPath(DataSetPath):
    number: int = Field(json_schema_extra={"minimum": 0}, description="Number of the sample, from 0.")


DataSetName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60, pattern=r"^[^/\\\x00-\x1f]+$")
]


LanguageName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]


class DataSetQuery(Strict):
    name: DataSetName | None = Field(None, description="Its name; by default the name of its file or folder.")
    kind: Literal["photos", "parallel_text"] = Field(
        "photos", description="photos with captions train a captioner, parallel_text trains a translator."
    )
    source: LanguageName | None = Field(
        None,
        description="Language of parallel text to read, as the files name it. By default, en if there is English, else"
        " the language that is left.",
    )
    target: LanguageName | None = Field(
        None, description="Language of parallel text to write. By default, the only other one that the files name."
    )

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        if self.kind == "photos" and (self.source or self.target):
            raise ValueError("source and target are languages of parallel text: add kind=parallel_text")
        if self.source and self.source == self.target:
            raise ValueError(f"source and target are both {self.source}: name two languages")
        return self


class DataSetSource(StrictBody):
    """A data set that is already on the server: either `folder` or `corrections`."""

    folder: str | None = Field(
        None, min_length=1, max_length=4096, description="A folder or a file below CAPTIONER_IMPORT_ROOT."
    )
    corrections: bool = Field(False, description="true: all corrections, with their photos.")
    name: DataSetName | None = Field(None, description="Its name.")

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.folder is None) != self.corrections:
            raise ValueError("give either folder, or corrections as true")
        return self


class DataSetSummary(BaseModel):
    """A data set, without its report."""

    id: str
    name: str
    origin: Literal["zip", "folder", "corrections", "collection"]
    created_at: datetime
    usable: bool = Field(description="Whether it can be used for training.")
    kind: Literal["photos", "parallel_text"]
    images: int
    captions: int
    pairs: int = Field(description="Number of pairs of parallel text; 0 for photos.")
    source: str | None = Field(None, description="Language of parallel text to read.")
    target: str | None = Field(None, description="Language of parallel text to write.")


class DataSetDocument(DataSetSummary):
    report: dict[str, Any] = Field(
        description="The inspection: `advice` in sentences, counts per split, languages (empty if there is too little"
        " text to detect them), `rare_words` that training leaves out of the vocabulary and their share of all words,"
        " words missing from the vocabulary of the captioner in use, identical and similar photos, problems by kind"
        " with file and line and the number of captions `lost` to each, and samples. Long lists are cut to their first"
        " 100 entries; `counts` and `problem_counts` give the totals. `headings` has the heading of each list and of"
        " each kind of problem that occurs, in order; reports of earlier versions have none. Of parallel text:"
        " `advice`, `splits` with their pairs, sentences about the pairs that were `left_out`, and samples."
    )


class DataSetList(BaseModel):
    datasets: list[DataSetSummary]


class TrainingPath(BaseModel):
    id: str = Field(pattern=f"^{ID_PATTERN}$", description="The training's id: 32 hex digits.")


class SamplePath(TrainingPath):
    number: int = Field(json_schema_extra={"minimum": 0}, description="Number of the sample, from 0.")


class TrainingBody(StrictBody):
    """A training to start: its data, its starting point and its options."""

    dataset: str = Field(pattern=f"^{ID_PATTERN}$", description="The id of the data set to train on.")
    replay: str | None = Field(
        None,
        pattern=f"^{ID_PATTERN}$",
        description="The id of the data set that the captioner was trained on before: mixed in to prevent forgetting.",
    )
    start: str = Field(
        "current",
        pattern=f"^(current|scratch|{VERSION_PATTERN})$",
        description="The captioner or translator to start from: current, a version, or scratch for none. With current,"
        " a translator starts from the one in use for its languages, or from scratch if there is none.",
    )
    preset: Literal["quick", "thorough"] | None = Field("quick", description="How long to train.")
    options: dict[str, int | float | bool | str] = Field(
        default_factory=dict,
        max_length=100,
        description="Options of `python -m training fit`, or of `fit-translator`, by name, such as epochs. They"
        " override the preset.",
    )
    promote_margin: float | None = Field(
        None,
        ge=-100,
        le=100,
        description="Promote the new version automatically if its CIDEr on held-out photos, or the BLEU (0 to 100) of a"
        " translator on held-out pairs, is higher by this. The first translator to a language improves on 0.",
    )


class EpochDocument(BaseModel):
    """The scores of an epoch; epoch 0 is the captioner or translator that the training started from.

    Captioners have CIDEr, Bleu_1 and Bleu_4; translators have BLEU and chrF.
    """

    epoch: int
    phase: str
    loss: float | None = Field(description="Mean over the epoch, in nats per word; null for epoch 0.")
    losses: dict[str, float] = Field(
        default_factory=dict,
        description="Each named loss, such as cross_entropy: mean over the epoch, before its weight.",
    )
    CIDEr: float | None = Field(None, description="On the validation photos, like the other scores.")
    Bleu_1: float | None = None
    Bleu_4: float | None = None
    BLEU: float | None = Field(None, description="On the validation pairs, 0 to 100.")
    chrF: float | None = None
    best: bool = Field(description="Whether it is the best epoch so far.")


class SampleCaption(BaseModel):
    epoch: int
    text: str


class SampleDocument(BaseModel):
    """A validation photo with its generated caption after each epoch."""

    photo: str
    references: list[str]
    captions: list[SampleCaption]


class SampleSentence(BaseModel):
    """A validation sentence with its translation after each epoch."""

    source: str
    reference: str
    translations: list[SampleCaption]


class TrainingDocument(BaseModel):
    """A training and its state."""

    id: str
    kind: Literal["captioner", "translator"] = Field(description="What it trains.")
    source: str | None = Field(description="Language that the translator reads.")
    target: str | None = Field(description="Language that the translator writes.")
    created_at: datetime
    dataset: Named
    replay: Named | None
    start: str = Field(description="The version that it starts from, or scratch.")
    preset: str | None
    options: dict[str, Any] = Field(description="All options, with their defaults.")
    promote_margin: float | None
    state: Literal["queued", "running", "finished", "failed", "cancelled"]
    position: int | None = Field(description="Position in the queue: 1 is next.")
    message: str | None = Field(description="The reason, if it failed.")
    stopping: bool = Field(description="Whether it was cancelled and is still stopping.")
    started_at: float | None = Field(description="Seconds since 1970.")
    ended_at: float | None
    progress: dict[str, Any] | None = Field(
        description="While it runs: stage (starting, encoding, training, validating, calibrating, comparing), done and"
        " total or epoch, epochs, batch, batches, loss, seconds_left."
    )
    seconds: dict[str, float] = Field(description="Duration of the steps: fit, compare and switching.")
    epochs: list[EpochDocument]
    samples: list[SampleDocument]
    sentences: list[SampleSentence] = Field(description="The samples of a translator.")
    version: str | None = Field(description="The model version that it produced.")
    promoted: bool = Field(description="Whether that version was promoted automatically.")


class TrainingList(BaseModel):
    trainings: list[TrainingDocument] = Field(description="Trainings, without epochs, samples and sentences.")
