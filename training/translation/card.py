"""Card of a translator: what a run writes into its bundle."""

from collections.abc import Mapping
from typing import Any

from captioner.text.counting import counted
from captioner.translation.bundle import TranslatorBundle
from training.options import TranslatorOptions
from training.translation.parallel_text import ParallelText


def translator_card(
    text: ParallelText,
    bundle: TranslatorBundle,
    options: TranslatorOptions,
    best: Mapping[str, Any],
    start: TranslatorBundle | None = None,
) -> str:
    """Return Markdown about the translator: architecture, data, training, and validation scores.

    start: the translator that the run started from.
    """
    config = bundle.model.config
    train, validation = (counted(len(text.split(name)), "pair") for name in ("train", "val"))
    reads = {"none": f"{config.attention} attention, {config.score} score"}.get(
        config.summary, f"one fixed vector, the {config.summary} annotation"
    )
    return f"""# Translator from {text.source} to {text.target}

A translator with attention (Bahdanau et al. 2015), trained with `python -m training fit-translator`.

- Encoder: bidirectional LSTM of 2 x {config.source_hidden_dim}, {len(bundle.source):,} pieces of words.
- Decoder: that of the captioner, LSTM of {config.hidden_dim}, {reads}, {len(bundle.target):,} pieces of words.
- Data: {train} of sentences; the licence of that data applies. {options.caption_share:.0%} of the time a pair is
  learned in the form of a caption, in lower case and without a full stop.
- Training: at most {counted(options.epochs, "epoch")}; these weights are of epoch {best["epoch"]}.
{_start_line(start)}
| sacrebleu, {validation} to validate | BLEU | chrF |
|---|---|---|
| these weights | {best["BLEU"]:.1f} | {best["chrF"]:.1f} |

It translates what is like its training sentences. It makes mistakes, and its probabilities do not say which words are
wrong.
"""


def _start_line(start: TranslatorBundle | None) -> str:
    """Return the line about the translator that a run started from; empty from scratch."""
    if start is None:
        return ""
    title = start.card.partition("\n")[0].strip("# ") or "another translator"
    return f"- Started from: {title}, whose pieces of words it keeps.\n"
