"""Model card that a run writes into its bundle."""

from typing import Any

from captioner.config import CaptionerConfig
from captioner.counting import counted
from training.data.mixing import parts_of
from training.grounding.supervision import teaching_boxes
from training.options import FitOptions
from training.setup import TrainingSetup


def model_card(setup: TrainingSetup, options: FitOptions, best: dict[str, Any]) -> str:
    """Return Markdown about the captioner: architecture, training data, training, and validation scores."""
    config = setup.config
    learning = [f"{counted(options.epochs, 'epoch')} of captions"] if options.epochs else []
    if options.fine_tune_epochs:
        learning.append(f"{options.fine_tune_epochs} with the encoder's last stages fine-tuned")
    if options.self_critical_epochs:
        learning.append(f"{options.self_critical_epochs} of self-critical training")
    words = counted(len(setup.vocabulary), "word")
    further = "".join(part(setup, options) for part in (_sentences, _start, _boxes))
    return f"""# {" and ".join(setup.data.names)} captioner

An image captioner in the style of Show, Attend and Tell (Xu et al. 2015), trained with `python -m training fit`.

- Encoder: `{config.encoder}`, weights from `{setup.encoder_weights.source}`, photos at
  {config.image_size} x {config.image_size} pixels, fitted by `{config.fit}`.
- Decoder: LSTM of {config.hidden_dim}, {_attention(config)}, {words}.
{_data(setup, options)}
{further}- Training: at most {", then ".join(learning)};
  these weights are of epoch {best["epoch"]} ({best["phase"]}).

{_scores(setup, best)}

It says what its training captions would say. Its captions of photos unlike these are often wrong.
"""


def _data(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the training data: photos and captions of each data set and, with several, its share of an epoch."""
    train, names = setup.frozen.train, setup.data.names
    records, balance = train.new_records, train.balance
    parts = balance.parts if balance else parts_of(names, [len(records)])
    each = []
    for number, part in enumerate(parts):
        captions = sum(len(records[position].captions) for position in part.positions)
        each.append(f"{counted(part.count, 'photo')} with {counted(captions, 'caption')} of {part.name}")
        if balance:
            each[-1] += f" ({balance.counts[number] / len(records):.0%} of an epoch)"
    if balance is None:
        return f"- Data: {each[0]}; the licence of that data applies."
    listed = ",\n  ".join(each)
    return f"- Data: {listed};\n  balance {options.balance:g}; the licences of these data sets apply."


def _scores(setup: TrainingSetup, best: dict[str, Any]) -> str:
    """Render a table of the validation scores; with several data sets, their mean and those of each."""
    validator, beam = setup.frozen.validator, setup.decoding.beam_width
    if by_data := best.get("by_data"):
        each = {f"{part.name}, {counted(part.count, 'photo')}": by_data[part.name] for part in validator.parts}
        heads = [f"validation, beam {beam}", "mean", *each]
        rows = [heads, ["---"] * len(heads)]
        scored = [best, *each.values()]
    else:
        rows = [[f"validation, {counted(len(validator.data), 'photo')}, beam {beam}", ""], ["---", "---"]]
        scored = [best]
    rows += [[name, *(f"{scores[name]:.3f}" for scores in scored)] for name in ("CIDEr", "Bleu_1", "Bleu_4")]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _attention(config: CaptionerConfig) -> str:
    """Describe the decoder's attention."""
    if config.attention == "none":
        return "no attention (the mean of all locations, the same for every word)"
    size = "" if config.score == "general" else f" of {config.attention_dim}"
    inside = f", {config.activation}" if config.score == "additive" else ""
    asks = "the state and the last word" if config.query == "hidden_word" else "the state"
    return f"{config.attention} attention ({config.score} score{size}{inside}, queried by {asks})"


def _boxes(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the boxes that supervised attention; empty if there were none."""
    boxes = teaching_boxes(setup.data.boxes, options)
    if boxes is None:
        return ""
    told = f"boxes of {boxes.name}, weight {options.supervision_weight:g}"
    return f"- Attention of words that name an object was supervised: {told}.\n"


def _sentences(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the sentences without photos; empty if there were none."""
    sentences = setup.words.sentences
    if sentences is None:
        return ""
    weight = f"weight {options.sentence_weight:g}" if options.sentence_weight else "for their words only"
    return f"- Text without photos: {counted(len(sentences), 'sentence')} of {', '.join(sentences.files)}, {weight}.\n"


def _start(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the captioner that a run started from, and replay or distillation; empty for a run from scratch."""
    if setup.start is None:
        return ""
    title = setup.start.card.partition("\n")[0].strip("# ") or "another captioner"
    grown = len(setup.vocabulary) - len(setup.start.vocabulary)
    line = f"- Started from: {title}; {counted(grown, 'new word')}."
    if setup.data.replay is not None:
        earlier = f"{len(setup.frozen.train) - len(setup.frozen.train.new_records):,} photos"
        line += f"\n  {options.replay_share:.0%} of each batch were drawn from {earlier} of {setup.data.replay.name}."
    elif options.distillation_weight:
        line += f"\n  Kept close to that captioner by distillation, weight {options.distillation_weight:g}."
    return line + "\n"
