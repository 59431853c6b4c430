"""Translations of texts, and pictures of attention matrices."""

from collections.abc import Sequence

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from captioner.errors import ConfigError
from captioner.translation.matrix import matrix_figure
from captioner.translation.serialise import translation_json
from captioner.translation.translator import Translation
from service.api.captions import find_ranked
from service.api.operations import current_service, json_response, picture_responses, png_response
from service.api.schemas import CaptionPath, MatrixQuery
from service.api.translation_schemas import (
    RankedTranslation,
    TextMatrixQuery,
    TranslationAnswer,
    TranslationBody,
    TranslationDocument,
    TranslatorDocument,
    TranslatorList,
)
from service.errors import Problem, problem_responses
from service.inference.translating import TranslatorFacts

api = APIBlueprint(
    "translations",
    __name__,
    url_prefix="/api",
    abp_tags=[Tag(name="translations", description="Translations, with the attention of each word to the source.")],
    abp_responses=problem_responses(422),
)

_COSTLY = problem_responses(429, 503)


@api.get("/translators", responses={200: TranslatorList})
def list_translators() -> Response:
    """List the translators, by language. The list is empty if the service has none."""
    return json_response(
        TranslatorList(translators=[_translator_document(facts) for facts in current_service().translators.all()])
    )


@api.post("/translations", responses={200: TranslationAnswer} | problem_responses(400, 413, 415) | _COSTLY)
def translate(body: TranslationBody) -> Response:
    """Translate a text, or several texts: give `text` or `texts`.

    Each word of a translation has its attention weights over the words of the text. Translations are not stored.
    """
    if (body.text is None) == (body.texts is None):
        raise ConfigError("give either text, for one translation, or texts, for a list")
    texts = [body.text] if body.texts is None else body.texts
    ranked = current_service().translators.translate(body.language, texts, body.translations)
    documents = [_translation_document(body.language, translations) for translations in ranked]
    return json_response(TranslationAnswer(documents[0] if body.texts is None else documents))


@api.get("/translations/matrix.png", responses=picture_responses("image/png") | _COSTLY)
def get_text_matrix(query: TextMatrixQuery) -> Response:
    """Translate a text and draw the attention matrix: words of the text across, words of the translation down."""
    ((best,),) = current_service().translators.translate(query.language, [query.text])
    return png_response(matrix_figure(best))


@api.get(
    "/captions/<caption_id:id>/matrix.png", responses=picture_responses("image/png") | problem_responses(404) | _COSTLY
)
def get_caption_matrix(path: CaptionPath, query: MatrixQuery) -> Response:
    """Translate a caption and draw the attention matrix: words of the caption across, words of the translation down."""
    _, caption = find_ranked(path.id, query.caption)
    (translated,) = current_service().translators.translate_captions(query.language, [caption])
    if translated is None:
        raise Problem(404, "This caption has no translation: the translator knows none of its words.")
    return png_response(matrix_figure(translated.translation))


def _translator_document(facts: TranslatorFacts) -> TranslatorDocument:
    scores = {split: facts.metrics[split] for split in ("validation", "test") if split in facts.metrics}
    return TranslatorDocument(language=facts.language, source=facts.source, scores=scores, card=facts.card)


def _translation_document(language: str, translations: Sequence[Translation]) -> TranslationDocument:
    best, *others = map(translation_json, translations)
    alternatives = [RankedTranslation(**other) for other in others]
    return TranslationDocument(language=language, **best, alternatives=alternatives)
