"""`training fit` and `fit --check`: choose the options of a run, then prepare and train, or print the options.

Options come from the command line, a JSON file, a preset, the run to resume, the captioner to start from and the data.
`check` runs without torch: functions import what needs it.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from captioner.bundle.json_files import LABELS, load_metrics, load_vocabulary
from captioner.commands.arguments import from_arguments, given_arguments
from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError
from captioner.labels.names import LabelNames, imagenet_names, read_label_names
from training.arguments import DECODING, INTERRUPTED, read_also, read_data
from training.data.lost_captions import problems_summary
from training.data.mixing import Balance, check_different, names_of, parts_of
from training.data.readers.sentence_files import SentenceTexts, read_sentences
from training.data.records import read_records
from training.data.word_choice import chosen_words
from training.inspection.coverage import rare_words, vocabulary_lines, vocabulary_warning
from training.inspection.languages import unknown_words
from training.inspection.statistics import training_words
from training.options import FitOptions, choose_options, read_options
from training.runs.resuming import check_kind, compare_runs, stored_options
from training.start_config import extended_config

if TYPE_CHECKING:
    from captioner.bundle.bundle import Bundle
    from captioner.ranks import Ranks
    from training.data.records import DataSet, ImageRecord


def check(options: argparse.Namespace) -> int:
    """Print the training options that `fit` would use; on standard error, what `fit` would say about the data."""
    stored_run = _load_stored_run(options)
    data_sets = [read_data(options), *read_also(options)]
    check_different(data_sets)
    texts = _read_texts(options)
    records = [record for data in data_sets for record in data.records]
    fit_options = _choose_fit_options(options, records, stored_run["run"] if stored_run else {}, texts)
    known_words = load_vocabulary(options.from_bundle).words if options.from_bundle else ()
    messages = [problems_summary(data) for data in data_sets if data.problems]
    messages += [balance_of(data_sets, fit_options).sentence()] if len(data_sets) > 1 else []
    names = _label_names_without_torch(options, stored_run["run"] if stored_run else {})
    words = chosen_words(training_words(records), texts.counts() if texts else {}, names, fit_options)
    vocabulary_words = {*known_words, *words.chosen}
    messages += vocabulary_lines(rare_words(words.captions, fit_options.min_count, vocabulary_words)) + words.lines(
        known_words
    )
    messages += texts.lines() if texts else []
    print(*messages, sep="\n", file=sys.stderr)
    print(json.dumps(fit_options.to_json(), indent=1))
    return 0


def balance_of(data_sets: "Sequence[DataSet]", options: FitOptions) -> Balance:
    """Return how often an epoch shows each data set if all of its photos can be read. Raises DataError."""
    return Balance(parts_of(names_of(data_sets), [len(data.split("train")) for data in data_sets]), options.balance)


def fit(options: argparse.Namespace, ranks: "Ranks") -> int:
    """Train a captioner. Returns the exit status: 0, or 130 if the run was interrupted."""
    from captioner.model.allocator import keep_freed_memory
    from training import captioning
    from training.data.boxes.readers.formats import read_boxes
    from training.data.training_data import training_data
    from training.encoding import encode_features
    from training.loop import Interrupted
    from training.progress import ProgressFile, ignore_progress
    from training.runs.run import CHECKPOINT, check_output
    from training.setup import TrainingSetup, build_model, choose_vocabulary, make_criterion, print_vocabulary

    stored_run = _load_stored_run(options)
    run_state = stored_run["run"] if stored_run else {}
    keep_freed_memory()
    start = _load_start(options)
    config = _choose_captioner_config(options, run_state, start)
    decoding = _choose_decoding_options(options, run_state, start)
    check_output(options.output, options.resume)  # before hours of encoding photos
    on_progress = ProgressFile(options.output) if ranks.leads else ignore_progress
    data_sets = [read_data(options), *read_also(options)]
    check_different(data_sets)
    texts = _read_texts(options)
    fit_options = _choose_fit_options(
        options, [record for data in data_sets for record in data.records], run_state, texts
    )
    if stored_run:  # refused before hours of encoding photos
        run_options = {"options": fit_options, "captioner": config, "decoding": decoding}
        identity = {name: values.to_json() for name, values in run_options.items()}
        identity["sentences"] = texts and texts.sha256()
        compare_runs(run_state, identity, stored_run["progress"]["phase"], options.output / CHECKPOINT)
    if ranks.leads:
        _report_data(data_sets, texts)
    replay = read_records(options.replay, seed=options.seed) if options.replay else None
    boxes = read_boxes(options.boxes) if options.boxes else None
    data = training_data(data_sets, config, fit_options, replay, boxes)
    words = choose_vocabulary(data, config, fit_options, start, _read_label_names(options, config), texts, ranks)
    model, weights = build_model(config, words, fit_options, options.encoder_weights, start, options.device)
    print_vocabulary(words, ranks)
    features = encode_features(data, model, words.vocabulary, decoding, fit_options, options.cache, on_progress, ranks)
    criterion = make_criterion(model, words, features[0], fit_options, start)
    setup = TrainingSetup(data, words, model, weights, decoding, *features, criterion, start)
    try:
        bundle = captioning.fit(setup, fit_options, options.output, options.resume, on_progress, ranks)
    except Interrupted as interruption:
        ranks.print_once(str(interruption))
        return INTERRUPTED
    if ranks.leads:
        print(f"the captioner is in {bundle}")
        if warning := vocabulary_warning(words.rare):  # repeated below the long log
            print(f"warning: {warning}", file=sys.stderr)
    return 0


def _report_data(data_sets: "Sequence[DataSet]", texts: SentenceTexts | None) -> None:
    """Print what is left out of the data sets, and how many sentences there are, to standard error."""
    for data in data_sets:
        if data.problems:
            print(problems_summary(data), file=sys.stderr)
    if texts:
        print(*texts.lines(), sep="\n", file=sys.stderr)


def _load_stored_run(options: argparse.Namespace) -> dict[str, Any] | None:
    """Read the state of the run to resume, whose seed becomes the default.

    None without --resume, or if the run has no checkpoint yet. Raises ConfigError for the run of a translator.
    """
    stored_run = None
    if options.resume:
        from training.runs.run import CHECKPOINT, load_run

        checkpoint = options.output / CHECKPOINT
        stored_run = load_run(checkpoint, mapped=True) if checkpoint.is_file() else None
        check_kind(stored_run["run"] if stored_run else {}, "captioner", checkpoint)
    if options.seed is None:
        options.seed = stored_run["run"]["options"]["seed"] if stored_run else 0
    return stored_run


def _choose_captioner_config(
    options: argparse.Namespace, run: Mapping[str, Any], start: "Bundle | None"
) -> CaptionerConfig:
    """Return the captioner's config, by the command line and the run to resume or the captioner to start from.

    Raises ConfigError.
    """
    if run:
        return CaptionerConfig(**run["captioner"] | given_arguments(CaptionerConfig, options))
    if start:
        return extended_config(start.config, given_arguments(CaptionerConfig, options), options.from_bundle)
    return from_arguments(CaptionerConfig, options)


def _choose_decoding_options(
    options: argparse.Namespace, run: Mapping[str, Any], start: "Bundle | None"
) -> DecodingOptions:
    """Return the options of validation, by the command line, the run to resume or the captioner to start from."""
    decoding = start.decoding if start else DecodingOptions()
    if "decoding" in run:
        decoding = DecodingOptions.from_json(run["decoding"])
    # FitOptions has a captions_per_image and a seed of its own.
    given_options = {name: getattr(options, name) for name in DECODING if hasattr(options, name)}
    return replace(decoding, captions_per_image=1, seed=None, **given_options)


def _choose_fit_options(
    options: argparse.Namespace,
    records: "Sequence[ImageRecord]",
    run: Mapping[str, Any],
    texts: SentenceTexts | None,
) -> FitOptions:
    """Return the training options, by the command line, --options, the preset, the start, the data and the texts.

    records: of all data sets to learn from. run: the run to resume, from its checkpoint; empty for a new one. Raises
    ConfigError and BundleError.
    """
    given_options = given_arguments(FitOptions, options)
    if options.options is not None:
        file_options = read_options(options.options, FitOptions)
        if "seed" in file_options:
            raise ConfigError(f"{options.options} holds a seed: give it by --seed, as it also draws splits")
        given_options = file_options | given_options
    sizes = {
        "running_words": training_words(records).total(),
        "sentence_words": None if texts is None else len(texts.numbers),
    }
    if run:  # the captioner to start from only counts for the preset
        start = None if options.from_bundle is None else {}
        return choose_options(given_options, options.preset, start, resumed=stored_options(run), **sizes)
    if options.from_bundle is None:
        return choose_options(given_options, options.preset, **sizes)
    start_options = load_metrics(options.from_bundle).get("options")
    start_options = start_options if isinstance(start_options, dict) else {}
    new_words = unknown_words(records, load_vocabulary(options.from_bundle)).share
    return choose_options(given_options, options.preset, start_options, options.replay is not None, new_words, **sizes)


def _read_label_names(options: argparse.Namespace, config: CaptionerConfig) -> LabelNames | None:
    """Read the names of the classes from --label-names; None without it. Raises ConfigError."""
    if options.label_names is None:
        return None
    if not config.labels:
        raise ConfigError("--label-names names what --labels attends to, of which there are none: give --labels, too")
    if options.from_bundle is not None:
        raise ConfigError("--label-names contradicts --from-bundle, which has its labels' names: leave one out")
    return read_label_names(options.label_names)


def _label_names_without_torch(options: argparse.Namespace, run: Mapping[str, Any]) -> LabelNames | None:
    """Return the names of the classes, of the run to resume, the captioner to start from or the command line.

    Needs no torch. Raises ConfigError.
    """
    if run:
        return LabelNames.from_json(run["label_names"]) if run.get("label_names") else None
    if options.from_bundle is not None:
        file = options.from_bundle / LABELS
        return read_label_names(file) if file.is_file() else None
    label_names = _read_label_names(options, from_arguments(CaptionerConfig, options))
    return label_names or (imagenet_names() if getattr(options, "labels", 0) else None)


def _read_texts(options: argparse.Namespace) -> SentenceTexts | None:
    """Read the sentences without photos that the arguments name. Raises DataError."""
    return read_sentences(options.sentences) if options.sentences else None


def _load_start(options: argparse.Namespace) -> "Bundle | None":
    """Load the captioner to start from, if one is named. Raises ConfigError and BundleError."""
    if options.from_bundle is None:
        if options.replay is not None:
            raise ConfigError(
                "--replay mixes in what a captioner has learned before: name the captioner, --from-bundle"
            )
        return None
    from captioner.bundle.bundle import load_bundle

    bundle = load_bundle(options.from_bundle)
    if options.encoder_weights is not None:
        raise ConfigError("--encoder-weights contradicts --from-bundle, which has its encoder's weights: leave one out")
    return bundle
