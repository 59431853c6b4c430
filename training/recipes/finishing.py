"""Finish a trained captioner: average weights, select decoding options, and write the card with the scores."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import torch

from captioner.bundle.bundle import Bundle, load_bundle
from captioner.config import DecodingOptions
from captioner.errors import DataError
from captioner.files import read_json, write_json
from captioner.model.devices import choose_device
from captioner.model.weights import tensors_sha256
from captioner.text.counting import counted
from training.data.dataset import CaptionDataset
from training.data.features import FeatureView, fill_cache, open_cache
from training.data.mixing import names_of, parts_of
from training.data.records import DataSet
from training.data.training_data import training_splits
from training.evaluation.metrics import METRICS
from training.options import FitOptions
from training.recipes.options import Recipe
from training.recipes.steps import duration
from training.validation import Validator


def averaged_bundle(bundles: Mapping[str, Path], shares: Mapping[str, float]) -> Bundle:
    """Average the weights of captioners with the same vocabulary; everything else is the last one's."""
    loaded_bundles = {name: load_bundle(bundles[name]) for name in shares}
    states = {name: bundle.model.state_dict() for name, bundle in loaded_bundles.items()}
    last_bundle = list(loaded_bundles.values())[-1]
    mean = {}
    for name, tensor in last_bundle.model.state_dict().items():
        mean[name] = tensor
        if tensor.is_floating_point():
            mean[name] = sum(share * states[stage][name].float() for stage, share in shares.items()).to(tensor.dtype)
    last_bundle.model.load_state_dict(mean)
    return last_bundle


class DecodingChoice:
    """Selection of decoding options by the mean CIDEr over the validation photos of all data sets."""

    def __init__(self, bundle: Bundle, data_sets: Sequence[DataSet], photos: int, cache: Path, device: str | None):
        """photos: maximum number of photos of each data set; 0 for all. They are encoded once."""
        options = FitOptions(validation_images=photos)
        splits = [training_splits(data, options)[1] for data in data_sets]
        model, config = bundle.model, bundle.config
        model.to(choose_device(device)).eval()
        view = FeatureView(None)
        self._weights = tensors_sha256(model)
        features = open_cache(cache, model.encoder, tensors_sha256(model.encoder.stages), config, view)
        paths = [record.path for records in splits for record in records]
        fill_cache(features, model.encoder, config, view, paths, "encode validation photos")
        splits = [[record for record in records if record.path in features] for records in splits]
        if not all(splits):
            raise DataError("no validation photo of one data set could be read: `python -m training inspect` says why")
        records = [record for split in splits for record in split]
        frames = [features.frame(record.path, config.fit) for record in records]
        data = CaptionDataset(records, bundle.vocabulary, [features])
        parts = parts_of(names_of(data_sets), [len(split) for split in splits])
        self.bundle, self._validator = bundle, Validator(data, frames, bundle.decoding, parts=parts)

    def choose(self, values: Mapping[str, Sequence[Any]], results_file: Path) -> DecodingOptions:
        """Try the values of each option in turn, with the best values of the others so far.

        results_file: JSON file with earlier results for any weights, which are not computed again.
        """
        best = dataclasses.replace(self.bundle.decoding, captions_per_image=1, seed=None)
        results = read_json(results_file, [])
        for name, candidates in values.items():
            options = [best, *(dataclasses.replace(best, **{name: value}) for value in candidates)]
            best = max(options, key=lambda candidate: self._score(candidate, results, results_file))
        return best

    def _score(self, options: DecodingOptions, results: list[dict[str, Any]], results_file: Path) -> float:
        key = {"weights": self._weights, "decoding": options.to_json()}
        result = next((entry for entry in results if entry.items() >= key.items()), None)
        if result is None:
            self._validator.options = options
            validation = self._validator(self.bundle.model, self.bundle.vocabulary, None)
            result = {**key, **validation.to_json()}
            results.append(result)
            write_json(results_file, results)
        return result["CIDEr"]


def finish_card(
    card: str, figures: Mapping[str, Mapping[str, Any]], decoding: DecodingOptions, description: Sequence[str]
) -> str:  # fmt: skip
    """Return the card of a training run with the scores of evaluations instead of its own, and how it was made.

    figures: data ("flickr8k, val") -> metrics.json of its evaluation. description: paragraphs of `describe_recipe`.
    """
    # The card of a run describes only its last stage, and has the scores of its own validation.
    training = re.compile(r"^- Training: .*\n(  .*\n)*", re.MULTILINE)
    lines = [line for line in training.sub("", card).splitlines() if not line.startswith("|")]
    ending_start = next((number for number, line in enumerate(lines) if line.startswith("It says what")), len(lines))
    body, ending = "\n".join(lines[:ending_start]).rstrip(), "\n".join(lines[ending_start:])
    words = {0: "", 1: ", no word twice", 2: ", no pair of words twice"}
    repeat_text = words.get(decoding.block_repeats, f", no {decoding.block_repeats} words in a row twice")
    repeat_text += "" if decoding.repeat_nouns else ", no noun twice"
    setting = f"beam {decoding.beam_width}, length exponent {decoding.length_penalty:g}{repeat_text}"
    table = [f"| official scorer, {setting} | {' | '.join(figures)} |", "|---" * (len(figures) + 1) + "|"]
    for name in METRICS:
        table.append(f"| {name} | {' | '.join(f'{values[name]:.3f}' for values in figures.values())} |")
    pointing = [
        f"Head nouns with boxes, {name}: attention correctness {head['attention_correctness']:.3f}, pointing"
        f" {head['pointing']:.3f}."
        for name, values in figures.items()
        if (head := _head_scores(values))
    ]
    paragraphs = [
        body,
        "\n".join(table),
        *pointing,
        *(fill(sentence, 120, break_on_hyphens=False) for sentence in description),
        ending,
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def describe_recipe(
    command: str, recipe: Recipe, best: Mapping[str, Any], seconds: Mapping[str, float], machine: str
) -> list[str]:
    """Return paragraphs about the command, the stages, the weights and the time of each step, and the notes.

    best: epoch and phase of the best weights of the last training run.
    """
    stages = (f"{stage.name} ({_list_options(stage.options)})" for stage in recipe.stages)
    runs = counted(len({recipe.start_of_run(number) for number in range(len(recipe.stages))}), "training run")
    weights = f"The weights are those of epoch {best['epoch']} ({best['phase']})."
    if recipe.average:
        shares = ", ".join(f"{share:g} of {name}" for name, share in recipe.average.items())
        weights = f"The weights are the mean of those after the stages: {shares}."
    times = ", ".join(f"{name} {duration(value)}" for name, value in seconds.items())
    return [
        f"Made by `{command}` in {runs}. Stages: {'; '.join(stages)}. {weights}",
        f"It took {duration(sum(seconds.values()))} on {machine}: {times}.",
        *recipe.notes,
    ]


def machine_name(device: str | None) -> str:
    """Return the name of the device that training ran on."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return counted(os.cpu_count() or 1, "CPU core")


def _list_options(options: Mapping[str, Any]) -> str:
    values = ((name, f"{value:g}" if isinstance(value, float) else value) for name, value in options.items())
    return ", ".join(f"{name} {value}" for name, value in values)


def _head_scores(metrics: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the attention correctness and pointing of head nouns; empty if they were not measured."""
    return metrics["grounding"]["references"]["head"] if "grounding" in metrics else {}


def bundle_figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of an evaluation that a bundle keeps: numbers, without curves."""
    figures = {name: round(metrics[name], 4) for name in METRICS}
    figures |= _head_scores(metrics)
    if "hallucination" in metrics:
        figures["hallucination"] = metrics["hallucination"]
    if "confidence" in metrics:
        figures["confidence"] = {
            kind: {name: value for name, value in scores.items() if name != "risk_coverage"}
            for kind, scores in metrics["confidence"].items()
        }
    return {**figures, "images": metrics["images"]}
