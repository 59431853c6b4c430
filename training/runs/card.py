"""Model card that a run writes into its bundle."""

from typing import Any

from captioner.config import CaptionerConfig
from captioner.text.counting import counted
from training.data.boxes.supervision import teaching_boxes
from training.data.mixing import parts_of
from training.options import FitOptions
from training.setup import TrainingSetup


def model_card(setup: TrainingSetup, options: FitOptions, best: dict[str, Any]) -> str:
    """Return Markdown about the captioner: architecture, training data, training, and validation scores."""
    config = setup.config
    phases = [f"{counted(options.epochs, 'epoch')} of captions"] if options.epochs else []
    if options.fine_tune_epochs:
        phases.append(f"{options.fine_tune_epochs} with the encoder's last stages fine-tuned")
    if options.self_critical_epochs:
        phases.append(f"{options.self_critical_epochs} of self-critical training")
    words = counted(len(setup.vocabulary), "word")
    optional_lines = "".join(
        describe(setup, options) for describe in (_describe_sentences, _describe_start, _describe_boxes)
    )
    return f"""# {" and ".join(setup.data.names)} captioner

An image captioner in the style of Show, Attend and Tell (Xu et al. 2015), trained with `python -m training fit`.

- Encoder: `{config.encoder}`, weights from `{setup.encoder_weights.source}`, photos at
  {config.image_size} x {config.image_size} pixels, fitted by `{config.fit}`.
- Decoder: LSTM of {config.hidden_dim}, {_describe_attention(config)}, {words}.
{_describe_data(setup, options)}
{optional_lines}- Training: at most {", then ".join(phases)};
  these weights are of epoch {best["epoch"]} ({best["phase"]}).

{_render_scores(setup, best)}

It says what its training captions would say. Its captions of photos unlike these are often wrong.
"""


def _describe_data(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the training data: photos and captions of each data set and, with several, its share of an epoch."""
    train, names = setup.frozen.train, setup.data.names
    records, balance = train.new_records, train.balance
    parts = balance.parts if balance else parts_of(names, [len(records)])
    descriptions = []
    for number, part in enumerate(parts):
        captions = sum(len(records[position].captions) for position in part.positions)
        descriptions.append(f"{counted(part.count, 'photo')} with {counted(captions, 'caption')} of {part.name}")
        if balance:
            descriptions[-1] += f" ({balance.counts[number] / len(records):.0%} of an epoch)"
    if balance is None:
        return f"- Data: {descriptions[0]}; the licence of that data applies."
    data_list = ",\n  ".join(descriptions)
    return f"- Data: {data_list};\n  balance {options.balance:g}; the licences of these data sets apply."


def _render_scores(setup: TrainingSetup, best: dict[str, Any]) -> str:
    """Render a table of the validation scores; with several data sets, their mean and those of each."""
    validator, beam = setup.frozen.validator, setup.decoding.beam_width
    if by_data := best.get("by_data"):
        data_scores = {f"{part.name}, {counted(part.count, 'photo')}": by_data[part.name] for part in validator.parts}
        header = [f"validation, beam {beam}", "mean", *data_scores]
        rows = [header, ["---"] * len(header)]
        columns = [best, *data_scores.values()]
    else:
        rows = [[f"validation, {counted(len(validator.data), 'photo')}, beam {beam}", ""], ["---", "---"]]
        columns = [best]
    rows += [[name, *(f"{scores[name]:.3f}" for scores in columns)] for name in ("CIDEr", "Bleu_1", "Bleu_4")]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _describe_attention(config: CaptionerConfig) -> str:
    """Describe the decoder's attention."""
    if config.attention == "none":
        return "no attention (the mean of all locations, the same for every word)"
    size = "" if config.score == "general" else f" of {config.attention_dim}"
    activation = f", {config.activation}" if config.score == "additive" else ""
    query = "the state and the last word" if config.query == "hidden_word" else "the state"
    return f"{config.attention} attention ({config.score} score{size}{activation}, queried by {query})"


def _describe_boxes(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the boxes that supervised attention; empty if there were none."""
    boxes = teaching_boxes(setup.data.boxes, options)
    if boxes is None:
        return ""
    description = f"boxes of {boxes.name}, weight {options.supervision_weight:g}"
    return f"- Attention of words that name an object was supervised: {description}.\n"


def _describe_sentences(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the sentences without photos; empty if there were none."""
    sentences = setup.words.sentences
    if sentences is None:
        return ""
    weight = f"weight {options.sentence_weight:g}" if options.sentence_weight else "for their words only"
    return f"- Text without photos: {counted(len(sentences), 'sentence')} of {', '.join(sentences.files)}, {weight}.\n"


def _describe_start(setup: TrainingSetup, options: FitOptions) -> str:
    """Describe the captioner that a run started from, and replay or distillation; empty for a run from scratch."""
    if setup.start is None:
        return ""
    title = setup.start.card.partition("\n")[0].strip("# ") or "another captioner"
    new_words = len(setup.vocabulary) - len(setup.start.vocabulary)
    line = f"- Started from: {title}; {counted(new_words, 'new word')}."
    if setup.data.replay is not None:
        earlier = f"{len(setup.frozen.train) - len(setup.frozen.train.new_records):,} photos"
        line += f"\n  {options.replay_share:.0%} of each batch were drawn from {earlier} of {setup.data.replay.name}."
    elif options.distillation_weight:
        line += f"\n  Kept close to that captioner by distillation, weight {options.distillation_weight:g}."
    return line + "\n"
