"""Evaluation of a translator: scores, scores by length, and a page of translations with their matrices.

Files in the output folder:
    metrics.json         BLEU and chrF, also by the length of the source, the signature of sacrebleu, the number of
                         sentences that the translator cannot read, and for English with a lexicon of the target
                         language how often a word points at its source word
    translations.jsonl   every translation with its words, their probabilities and weights
    report.html          the scores, and the worst and best translations with their matrices
"""

import html
import io
import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from captioner.config import DecodingOptions
from captioner.files import write_atomically, write_json
from captioner.translation.languages import language_code
from captioner.translation.matrix import matrix_figure
from captioner.translation.serialise import translation_json
from captioner.translation.translator import Translation, Translator, can_read
from training.evaluation.folder import make_folder
from training.translation.alignments import lexicon_languages, score_alignments
from training.translation.parallel_text import Pair, ParallelText
from training.translation.scores import score_translations, scores_by_length, sentence_scores

SHOWN = 20
"""Number of the best, and of the worst, translations on the page."""


def evaluate_translator(
    translator: Translator, text: ParallelText, split: str, options: DecodingOptions, output: Path
) -> dict[str, Any]:
    """Translate a split, score it, and write the files. Returns metrics.json.

    A sentence that the translator refuses has an empty translation. Raises DataError for a missing split, or a folder
    that cannot be made, before anything is translated.
    """
    pairs = text.split(split)
    make_folder(output)
    sources, references = ([pair[side] for pair in pairs] for side in (0, 1))
    translations = translator.translate(sources, options, strict=False)
    texts = [each.text for each in translations]
    metrics = {
        **score_translations(texts, references).to_json(),
        "split": split,
        "unreadable": sum(not can_read(source, translator.bundle.source) for source in sources),
        "by_length": {name: scores.to_json() for name, scores in scores_by_length(sources, texts, references).items()},
        "decoding": options.to_json(),
    }
    languages = [language_code(name) for name in (translator.bundle.source_language, translator.bundle.target_language)]
    if languages[0] == "en" and languages[1] in lexicon_languages():
        metrics["alignment"] = score_alignments(translator, languages[1]).to_json()
    write_json(output / "metrics.json", metrics)
    lines = (json.dumps(translation_json(each), ensure_ascii=False) for each in translations)
    write_atomically(output / "translations.jsonl", "".join(f"{line}\n" for line in lines))
    page = render_page(metrics, pairs, translations, sentence_scores(texts, references))
    write_atomically(output / "report.html", page)
    return metrics


def render_page(
    metrics: dict[str, Any], pairs: Sequence[Pair], translations: Sequence[Translation], scores: Sequence[float]
) -> str:
    """Return the page as HTML without any other file. scores: chrF of each translation, which orders them."""
    order = sorted(range(len(pairs)), key=scores.__getitem__)
    worst, best = order[:SHOWN], order[::-1][: max(0, min(SHOWN, len(order) - SHOWN))]
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{each['sentences']:,}</td><td>{each['bleu']:.1f}</td>"
        f"<td>{each['chrf']:.1f}</td></tr>"
        for name, each in {"all": metrics, **metrics["by_length"]}.items()
    )
    parts = [
        f"<h2>{title}</h2>" + "".join(_card(pairs[index], translations[index], scores[index]) for index in indices)
        for title, indices in (("The best", best), ("The worst", worst))
        if indices
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Translations: {html.escape(metrics["split"])}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
td, th {{ text-align: left; padding: 0.1rem 1rem 0.1rem 0; }} article {{ margin: 2rem 0; }} img {{ max-width: 100%; }}
</style></head><body>
<h1>Translations of the split {html.escape(metrics["split"])}</h1>
<table><thead><tr><th>words of the source</th><th>sentences</th><th>BLEU</th><th>chrF</th></tr></thead>
<tbody>{rows}</tbody></table>
<p>{html.escape(metrics["signature"])}</p>
{_alignment(metrics.get("alignment"))}
{"".join(parts)}
</body></html>
"""


def _alignment(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return ""
    return (
        f"<p>Of {scores['found']:,} words of a small lexicon, {scores['attention']:.0%} have their largest weight on"
        f" their source word (a diagonal matrix: {scores['diagonal']:.0%}, a uniform one:"
        f" {scores['uniform']:.0%}).</p>"
    )


def _card(pair: Pair, translation: Translation, score: float) -> str:
    source, reference = map(html.escape, pair)
    buffer = io.BytesIO()
    matrix_figure(translation, cell=24).save(buffer, "PNG", optimize=True)
    words, picture = html.escape(" ".join(translation.words)), b64encode(buffer.getvalue()).decode()
    return (
        f"<article><p>{source}<br><b>{html.escape(translation.text)}</b><br>Reference: {reference}"
        f" (chrF {score:.0f}, probability {translation.probability:.3g})</p>"
        f'<img alt="Attention of {words} to {source}" src="data:image/png;base64,{picture}">'
        "</article>"
    )
