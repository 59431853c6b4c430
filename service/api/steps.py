"""Steps of a stored caption: scores, weights, gate and likeliest words of each word."""

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from captioner.bundle.bundle import Bundle
from captioner.caption_json import DIGITS
from captioner.captioner import Caption
from captioner.labels.names import LabelNames
from captioner.steps import CaptionSteps
from captioner.text.vocabulary import END, Vocabulary
from service.api.captions import find_ranked, stored_photo
from service.api.operations import current_service, json_response
from service.api.schemas import CaptionPath, Rank
from service.api.step_schemas import CandidateDocument, LabelWeightDocument, StepDocument, StepsDocument
from service.errors import problem_responses

api = APIBlueprint(
    "steps",
    __name__,
    url_prefix="/api/captions",
    abp_tags=[Tag(name="steps", description="Scores, weights, gate and likeliest words behind each word.")],
    abp_responses=problem_responses(404, 422),
)


@api.get("/<caption_id:id>/steps", responses={200: StepsDocument} | problem_responses(409, 429, 503))
def get_steps(path: CaptionPath, query: Rank) -> Response:
    """Return the numbers behind each word: scores, weights, gate and the five most probable words.

    The numbers are recomputed on demand from the stored photo by the captioner that made the caption: it reads the
    words of the caption one by one. If another captioner is in use now, the answer is 409: caption the photo again.
    """
    entry, caption = find_ranked(path.id, query.caption)
    service = current_service()
    serving = service.serving
    with stored_photo(entry.id):
        steps = service.recomputation.steps(serving, entry, query.caption)
    return json_response(_document(caption, steps, serving.captioner.bundle))


def _document(caption: Caption, steps: CaptionSteps, bundle: Bundle) -> StepsDocument:
    rows, columns = caption.alphas.shape[1:]
    scores, weights = (
        values if values is None else values.reshape(-1, rows, columns) for values in (steps.scores, steps.alphas)
    )
    probabilities, candidate_probabilities = (
        _round(np.exp(values.astype(float))) for values in (steps.word_log_probs, steps.candidate_log_probs)
    )
    return StepsDocument(
        caption=caption.text,
        attention=bundle.config.attention,
        read="location" if steps.reads_one_location else "sum",
        rows=rows,
        columns=columns,
        steps=[
            StepDocument(
                word=word,
                probability=probabilities[index],
                scores=None if scores is None else scores[index],
                weights=weights[index],
                gate=_round(steps.gates[index]),
                candidates=[
                    CandidateDocument(text=_text(int(token), bundle.vocabulary), probability=probability)
                    for token, probability in zip(steps.candidates[index], candidate_probabilities[index], strict=True)
                ],
                label_weights=_label_weights(steps, bundle.label_names, index),
            )
            for index, word in enumerate(caption.words)
        ],
    )


def _text(token: int, vocabulary: Vocabulary) -> str | None:
    return None if token == END else vocabulary.words[token]


def _label_weights(steps: CaptionSteps, label_names: LabelNames | None, index: int) -> list[LabelWeightDocument]:
    """Return the weights of one step with the names of the labels that were recomputed with them.

    The stored photo is compressed once more, so these may be others than the caption's, or in another order.
    """
    if steps.label_alphas is None:
        return []
    names = [*(label_names.name(class_id) for class_id in steps.label_classes), None]
    weights = _round(steps.label_alphas[index])
    return [LabelWeightDocument(name=name, weight=weight) for name, weight in zip(names, weights, strict=True)]


def _round(values: np.ndarray) -> list | float:
    return values.astype(float).round(DIGITS).tolist()
