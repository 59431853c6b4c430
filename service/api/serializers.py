"""Serialize stored captions for the API, with the URLs of their pictures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from captioner.caption_json import (
    caption_figures,
    labels_json,
    plain_numbers,
    word_figures,
    word_label,
    word_label_json,
)
from captioner.captioner import Caption
from captioner.confidence.wording import wording
from captioner.translation.serialise import translation_json
from service.api.schemas import (
    Alphas,
    CaptionDocument,
    CaptionSummaryDocument,
    Correction,
    ImageDocument,
    ImageSummary,
    ModelReference,
    OptionsDocument,
    RankedCaption,
    Seconds,
    WordDocument,
)
from service.api.translation_schemas import CaptionTranslation
from service.inference.documents import captions_of
from service.store.captions import CaptionSummary, StoredCaption

if TYPE_CHECKING:
    from captioner.translation.translator import TranslatedCaption

THUMBNAIL_SIDE = 240
"""Longest side, in pixels."""
_NO_LABEL = {"label": None, "map_of": "attention", "label_map": None}
"""Label fields of a streamed word without a label."""


def caption_document(
    entry: StoredCaption, language: str | None = None, translated: "Sequence[TranslatedCaption | None] | None" = None
) -> CaptionDocument:
    """Return the API document of a caption.

    translated: the translation of each ranked caption to `language`, or None for a caption that has none.
    """
    captions = captions_of(entry)
    best, *others = (_ranked_caption(entry.id, rank, caption) for rank, caption in enumerate(captions, start=1))
    if language is not None and translated is not None:
        for rank, (document, translation) in enumerate(zip([best, *others], translated, strict=True), start=1):
            if translation is not None:
                document.translation = _caption_translation(entry.id, rank, language, translation)
    options = entry.document["options"]
    return CaptionDocument(
        id=entry.id,
        created_at=entry.created_at,
        **dict(best),
        labels=labels_json(captions[0]),
        warnings=entry.warnings or [],
        image=ImageDocument(**dict(_image_summary(entry)), seen_box=entry.document["seen_box"]),
        alternatives=others,
        model=ModelReference(version=entry.model_version),
        options=OptionsDocument(
            beam_width=options["beam_width"],
            captions=options["captions_per_image"],
            max_words=options["max_words"],
        ),
        seconds=Seconds(**entry.document["seconds"]),
        correction=correction_document(entry),
    )


def summary_document(entry: CaptionSummary) -> CaptionSummaryDocument:
    """Return the summary of a caption for the history."""
    return CaptionSummaryDocument(
        id=entry.id,
        created_at=entry.created_at,
        caption=entry.caption,
        probability=entry.probability,
        confidence=entry.confidence,
        wording=wording(entry.confidence),
        warnings=entry.warnings or [],
        image=_image_summary(entry),
        correction=correction_document(entry),
    )


def correction_document(entry: CaptionSummary) -> Correction | None:
    if entry.correction is None:
        return None
    return Correction(text=entry.correction, corrected_at=entry.corrected_at)


def streamed_words(caption: Caption, start: int) -> list[dict[str, Any]]:
    """Return the words of a caption from index `start`, each with its map [H][W], for streaming."""
    return [
        {
            "index": index,
            **{name: figures[name] for name in ("text", "probability", "gate", "spread")},
            "map": plain_numbers(caption.alphas[index]),
            **_NO_LABEL,
            **word_label_json(caption, index),
        }
        for index, figures in enumerate(word_figures(caption)[start:], start)
    ]


def _image_summary(entry: CaptionSummary) -> ImageSummary:
    url = _caption_url(entry.id, "image")
    return ImageSummary(width=entry.width, height=entry.height, url=url, thumbnail=f"{url}?size={THUMBNAIL_SIDE}")


def word_fields(caption: Caption) -> list[dict[str, Any]]:
    """Return the values of `WordFigures` for each word of a caption."""
    return [figures | word_label(caption, index) for index, figures in enumerate(word_figures(caption))]


def alphas_document(caption: Caption) -> Alphas:
    rows, columns = caption.alphas.shape[1:]
    return Alphas(rows=rows, columns=columns, maps=caption.alphas)


def _ranked_caption(caption_id: str, rank: int, caption: Caption) -> RankedCaption:
    query = "" if rank == 1 else f"?caption={rank}"
    return RankedCaption(
        **caption_figures(caption),
        words=[
            WordDocument(**fields, overlay=_caption_url(caption_id, f"overlays/{number}.png{query}"))
            for number, fields in enumerate(word_fields(caption), start=1)
        ],
        alphas=alphas_document(caption),
        figure=_caption_url(caption_id, f"figure.png{query}"),
    )


def _caption_translation(
    caption_id: str, rank: int, language: str, translated: "TranslatedCaption"
) -> CaptionTranslation:
    values = translation_json(translated.translation)
    words = [word | {"map": word_map} for word, word_map in zip(values.pop("words"), translated.maps, strict=True)]
    query = f"language={quote(language, safe='')}" + ("" if rank == 1 else f"&caption={rank}")
    return CaptionTranslation(
        language=language, **values, words=words, matrix=_caption_url(caption_id, f"matrix.png?{query}")
    )


def _caption_url(caption_id: str, suffix: str) -> str:
    return f"/api/captions/{caption_id}/{suffix}"
