"""The task of training a translator."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from captioner.config import DecodingOptions
from captioner.errors import DataError
from captioner.files import read_json, write_json
from captioner.model.devices import choose_device
from captioner.model.runtime import multiplies_bfloat16
from captioner.model.weights import tensors_sha256
from captioner.ranks import ALONE, Ranks
from captioner.text.vocabulary import PAD
from captioner.translation.bundle import TranslatorBundle, save_translator
from captioner.translation.config import MAX_PIECES, TranslatorConfig
from captioner.translation.matrix import matrix_figure
from captioner.translation.model import TranslationModel
from captioner.translation.subwords import Subwords
from captioner.translation.translator import Translation, Translator, can_read
from training.losses import caption_nll
from training.options import Phase, TranslatorOptions
from training.progress import ReportProgress
from training.random_streams import VALIDATION, WEIGHTS, sample, stream, torch_seed
from training.runs.curves import add_picture
from training.runs.resuming import compare_runs
from training.task import BatchLoss
from training.translation.card import translator_card
from training.translation.dataset import PairBatch, PairDataset
from training.translation.parallel_text import Pair, ParallelText, left_out_notes
from training.translation.scores import score_translations
from training.translation.start import NOTHING_KNOWN, known_pairs, unknown_notes

VALIDATION_BATCH = 64
SAMPLE_SENTENCES = 6
"""Number of validation sentences whose translations are kept for each epoch."""


@dataclass(frozen=True)
class TranslationValidation:
    """Translations of the validation sentences, and their scores."""

    translations: list[Translation]
    """In the order of the sentences; with several ranks, only the first has them."""
    scores: dict[str, float]
    """BLEU and chrF, 0 to 100."""
    by_data: dict[str, dict[str, float]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return dict(self.scores)


class TranslationTask:
    """Trains a translator: `training.task.Task` says what its methods do."""

    def __init__(
        self,
        text: ParallelText,
        config: TranslatorConfig,
        options: TranslatorOptions,
        decoding: DecodingOptions,
        device: torch.device | str | None = None,
        start: TranslatorBundle | None = None,
    ):
        """device: by default a GPU if there is one.

        start: the translator to start from, whose pieces and weights are taken. Its config must be `config`.

        `notes` has sentences about the pairs that are left out. Raises DataError if the text has no words, all training
        pairs are left out, or no validation pair can be read; ConfigError if the device cannot be used.
        """
        chosen = choose_device(device)
        self.options, self.decoding = options, decoding
        train = text.split("train")
        self.start, self.validates_start = start, start is not None
        self.source, self.target = (start.source, start.target) if start else _learned_pieces(train, options)
        known = known_pairs(train, self.source, self.target) if start else train
        self.data = PairDataset(known, self.source, self.target, options.caption_share)
        left_out = self.data.left_out + Counter({NOTHING_KNOWN: len(train) - len(known)})  # without those of 0
        if not len(self.data):
            raise DataError(f"nothing is left to train on: {'; '.join(left_out_notes(left_out))}")
        readable = tuple(pair for pair in text.split("val") if can_read(pair[0], self.source))
        self.text = replace(text, splits={**text.splits, "train": self.data.pairs, "val": readable})
        unreadable = _unreadable(len(text.split("val")) - len(readable), len(readable))
        unknown = unknown_notes(self.data.pairs, self.source, self.target) if start else ()
        self.notes = (*left_out_notes(left_out | unreadable), *unknown)
        self.validation = sample(readable, options.validation_pairs or len(readable), stream(options.seed, VALIDATION))
        torch.manual_seed(torch_seed(options.seed, WEIGHTS))
        self.model = TranslationModel(config, len(self.source), len(self.target)).to(chosen)
        if start:
            self.model.load_state_dict(start.model.state_dict())

    def plan(self, current_phase: str = "") -> list[Phase]:
        return [Phase("cross_entropy", self.options.epochs, self.options.learning_rate)]

    def batch_count(self, phase: Phase) -> int:
        return self.data.batch_count(self.options.batch_size)

    def batches(self, phase: Phase, epoch: int, first: int, ranks: Ranks = ALONE) -> Iterator[PairBatch]:
        return self.data.batches(epoch, self.options.batch_size, self.options.seed, first, ranks)

    def loss(
        self, phase: Phase, batch: PairBatch, phase_share: float, baseline: float = 0.0, ranks: Ranks = ALONE
    ) -> BatchLoss:
        """Cross-entropy with label smoothing, in nats per piece."""
        device = next(self.model.parameters()).device
        source, inputs, targets = (each.to(device) for each in (batch.source, batch.inputs, batch.targets))
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device)):
            output = self.model(source, inputs, batch.batch_slice)
            pieces = ranks.sum((targets != PAD).sum())
            loss = caption_nll(output.logits, targets, self.options.label_smoothing) / pieces
        return BatchLoss(loss, {"cross_entropy": loss.detach()})

    def leaves_parameters_unused(self, phase: Phase) -> bool:
        return False

    def trainable_modules(self, phase: Phase) -> list[tuple[nn.Module, float]]:
        return [(self.model, phase.learning_rate)]

    def validate(self, model: TranslationModel, phase: Phase, ranks: Ranks) -> TranslationValidation:
        translator = Translator(self._bundle(model), next(model.parameters()).device)
        sources = [source for source, _ in self.validation]
        order = sorted(range(len(sources)), key=lambda index: len(sources[index]))
        batches = [order[start : start + VALIDATION_BATCH] for start in range(0, len(order), VALIDATION_BATCH)]

        def translate(number: int) -> list[tuple[int, Translation]]:
            found = translator.translate([sources[index] for index in batches[number]], batch_size=VALIDATION_BATCH)
            return list(zip(batches[number], found, strict=True))

        by_index = dict(pair for batch in ranks.map(translate, len(batches)) for pair in batch)
        translations = [by_index[index] for index in sorted(by_index)]
        references = [reference for _, reference in self.validation]

        def score() -> dict[str, float]:
            scores = score_translations([each.text for each in translations], references)
            return {"BLEU": scores.bleu, "chrF": scores.chrf}

        return TranslationValidation(translations, ranks.from_leader(score))

    def rank(self, scores: Mapping[str, Any]) -> tuple[float, ...]:
        return scores["BLEU"], scores["chrF"]

    def epoch_size(self, phase: Phase) -> dict[str, int]:
        return {"pairs": len(self.data)}

    def save_bundle(self, model: TranslationModel, best: Mapping[str, Any], folder: Path) -> None:
        metrics = {"validation": dict(best), "options": self.options.to_json()}
        card = translator_card(self.text, self._bundle(model), self.options, best, self.start)
        save_translator(self._bundle(model, metrics, card), folder)

    def write_samples(self, output: Path, epoch: int, phase: Phase, scores: TranslationValidation) -> None:
        """Add an epoch's translations of some sentences to `samples.json`, and drop those of later epochs."""
        path = output / "samples.json"
        earlier = {entry["source"]: entry["translations"] for entry in read_json(path, {"sentences": []})["sentences"]}
        sentences = []
        for index in self._sample_indices():
            source, reference = self.validation[index]
            kept = [entry for entry in earlier.get(source, []) if entry["epoch"] < epoch]
            latest = {"epoch": epoch, "text": scores.translations[index].text}
            sentences.append({"source": source, "reference": reference, "translations": [*kept, latest]})
        write_json(path, {"sentences": sentences})

    def draw_samples(self, writer: SummaryWriter, epoch: int, phase: Phase, scores: TranslationValidation) -> None:
        for number, index in enumerate(self._sample_indices()):
            add_picture(writer, f"validation/{number}", matrix_figure(scores.translations[index]), epoch)

    def identity(self) -> dict[str, Any]:
        return {
            "options": self.options.to_json(),
            "translator": self.model.config.to_json(),
            "decoding": self.decoding.to_json(),
            "source": self.text.source,
            "target": self.text.target,
            "start": self.start and tensors_sha256(self.start.model),
            "pieces": _sha256([self.source.to_json(), self.target.to_json()]),
            "train_pairs": self.text.sha256("train"),
            "validation_pairs": _sha256(self.validation),
        }

    def compare(self, stored: Mapping[str, Any], phase: str, path: Path) -> dict[str, str]:
        return compare_runs(stored, self.identity(), phase, path)

    def finish(self, output: Path, on_progress: ReportProgress, ranks: Ranks) -> None:
        """Nothing is left to do."""

    def _bundle(
        self, model: TranslationModel, metrics: dict[str, Any] | None = None, card: str = ""
    ) -> TranslatorBundle:
        return TranslatorBundle(
            model, self.source, self.target, self.text.source, self.text.target, self.decoding, metrics or {}, card
        )

    def _sample_indices(self) -> list[int]:
        count = min(SAMPLE_SENTENCES, len(self.validation))
        return [number * len(self.validation) // count for number in range(count)]


def _unreadable(unreadable: int, readable: int) -> dict[str, int]:
    """Return the number of validation pairs that a translator would refuse, by the reason.

    Raises DataError if there are no others.
    """
    reason = f"too long, or without a letter of the training pairs (at most {MAX_PIECES} pieces of words are read)"
    if not readable:
        raise DataError(
            f"no validation pair can be translated: each source is {reason}; check the languages of the files"
        )
    return {f"validation pair whose source is {reason}": unreadable} if unreadable else {}


def _learned_pieces(train: Sequence[Pair], options: TranslatorOptions) -> tuple[Subwords, Subwords]:
    """Learn the pieces of words of both languages. Raises DataError if the pairs have no words."""
    source = Subwords.learn(_both_cases(pair[0] for pair in train), options.source_pieces)
    return source, Subwords.learn((pair[1] for pair in train), options.target_pieces)


def _both_cases(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts, each also in lower case: words of captions are to be whole pieces as well."""
    for text in texts:
        yield text
        yield text.lower()


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
