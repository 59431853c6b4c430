"""Response schemas of the steps of a caption."""

from typing import Literal

from pydantic import BaseModel, Field

from service.api.maps import Map, ScoreMap
from service.api.schemas import Probability


class CandidateDocument(BaseModel):
    text: str | None = Field(description="The word; null for the end of the caption.")
    probability: Probability = Field(description="Probability of the word, given the words before it.")


class LabelWeightDocument(BaseModel):
    name: str | None = Field(description="Name of the label; null for none of the labels.")
    weight: Probability


class StepDocument(BaseModel):
    """One step: attention reads the photo, then the decoder predicts the word."""

    word: str = Field(description="The word of the caption at this step.")
    probability: Probability = Field(description="Probability of the word, given the words before it.")
    scores: ScoreMap | None = Field(
        description="Scores e of the locations before the softmax, rows of the grid; null without attention."
    )
    weights: Map = Field(description="Weights α, the softmax of the scores, rows of the grid.")
    gate: float = Field(ge=0, le=1, description="Gating scalar β: the context vector is multiplied by it.")
    candidates: list[CandidateDocument] = Field(
        description="The most probable words at this step, most probable first. The word of the caption may be missing,"
        " because the search compares whole captions and blocks repeats."
    )
    label_weights: list[LabelWeightDocument] = Field(
        description="Attention to the labels of the photo; empty if the captioner does not use them. The labels are"
        " recomputed with the weights, so they may differ slightly from `labels` of the caption."
    )


class StepsDocument(BaseModel):
    """The numbers behind each word of a caption.

    They are recomputed in float32 from the stored photo, so the weights may differ slightly from `alphas`.
    """

    caption: str
    attention: Literal["soft", "hard", "none"] = Field(
        description="Attention of the decoder: soft, a weighted mean of all locations; hard, one location; none."
    )
    read: Literal["sum", "location"] = Field(
        description="What the words of this caption read: sum, the weighted sum of all locations; or location, the one"
        " with the largest weight. With hard attention, the decoding option `hard_context` says which."
    )
    rows: int = Field(description="Rows of the grid of locations.")
    columns: int
    steps: list[StepDocument] = Field(description="One step for each word, in word order.")
