"""Commands of a training and what they compare, for captioners and for translators."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from captioner.errors import ConfigError
from captioner.files import read_json
from service import training_process
from service.jobs.trainings import Training
from service.settings import Settings
from service.store.datasets import DataSets
from service.store.versions import Version, Versions

ENOUGH_TO_TEST = 20
"""Minimum number of pairs of a test split to compare translators on; else they are compared on the validation pairs."""

Command = list[str | Path]
"""A command of `training` with its arguments."""


@dataclass(frozen=True)
class Comparison:
    """Comparison of the new version with the one in use."""

    commands: list[Command]
    read_scores: Callable[[], dict[str, Any]]
    """Reads the scores that the commands have written: `data` has `new` and `old`, metric -> value."""


class Stages(Protocol):
    """Commands that a worker runs for a training, and the score that it compares."""

    what: str
    """captioner or translator."""
    metric: str
    """Score by which a version is promoted."""

    def fit(self) -> Command: ...

    def in_use(self) -> Version | None:
        """Return the version that the new one would replace, if any."""

    def compare(self, old: Version | None) -> Comparison: ...


def stages_of(training: Training, settings: Settings, datasets: DataSets, versions: Versions) -> Stages:
    """Return the stages of a training. Raises UnknownDataSet."""
    kind = CaptionerStages if training.request["target"] is None else TranslatorStages
    return kind(training, settings, datasets, versions)


class _Stages:
    def __init__(self, training: Training, settings: Settings, datasets: DataSets, versions: Versions) -> None:
        self._training, self._settings, self._versions = training, settings, versions
        self._data = datasets.get(training.request["dataset"])
        replay = training.request["replay"]
        self._replay = datasets.get(replay) if replay else None
        self._device = ["--device", settings.device] if settings.device else []

    def fit(self) -> Command:
        training = self._training
        arguments = [*training_process.fit_command(training.request), "--output", training.run, "--data"]
        arguments += [self._data.root, *self._device]
        arguments += training_process.fit_arguments(training.request, training.folder / "options.json")
        return [*arguments, "--resume"] if (training.run / "progress.json").exists() else arguments


class CaptionerStages(_Stages):
    what, metric = "captioner", "CIDEr"

    def fit(self) -> Command:
        start = self._training.request["start"]
        bundle = ["--from-bundle", self._versions.get(start).bundle] if start != "scratch" else []
        return [*super().fit(), *self._replay_arguments(), *bundle, "--cache", self._settings.home / "features"]

    def in_use(self) -> Version | None:
        return self._versions.current

    def compare(self, old: Version | None) -> Comparison:
        training = self._training
        command = ["compare", "--new", training.run / "bundle", "--old", old.bundle, "--output", training.comparison]
        command += ["--data", self._data.root, *self._replay_arguments(), *self._device]
        return Comparison([command], lambda: read_json(training.comparison / "comparison.json")["scores"])

    def _replay_arguments(self) -> Command:
        return ["--replay", self._replay.root] if self._replay else []


class TranslatorStages(_Stages):
    what, metric = "translator", "BLEU"

    def fit(self) -> Command:
        return [*super().fit(), *self._start_arguments()]

    def in_use(self) -> Version | None:
        """Return the translator to the same language, if it reads the same one."""
        # Imports torch, which a waiting worker does without.
        from service.store.translators import translator_in_use

        request = self._training.request
        folders = self._settings.translator_folders
        return translator_in_use(self._versions, folders, request["source"], request["target"])

    def compare(self, old: Version | None) -> Comparison:
        bundles = {"new": self._training.run / "bundle"} | ({"old": old.bundle} if old else {})
        commands = [self._evaluate(name, bundle) for name, bundle in bundles.items()]
        return Comparison(commands, lambda: self._scores(bundles))

    def _start_arguments(self) -> Command:
        """Return the arguments for the translator to start from. Raises UnknownVersion, or ConfigError."""
        from service.store.translators import find_translator

        start, target = self._training.request["start"], self._training.request["target"]
        if start == "scratch":
            return []
        version = find_translator(self._versions, self._settings.translator_folders, start, target)
        if version is None:
            raise ConfigError(
                f"the built-in translator for the language {target!r}, which this training starts from, is missing:"
                " give the worker the CAPTIONER_TRANSLATORS of the service, or start a new training"
            )
        return ["--from-bundle", version.bundle]

    def _evaluate(self, name: str, bundle: Path) -> Command:
        request = self._training.request
        command = ["evaluate-translator", "--source", request["source"], "--target", request["target"]]
        command += ["--data", self._data.root, "--split", self._held_out(), *self._device]
        return [*command, "--bundle", bundle, "--output", self._training.comparison / name]

    def _held_out(self) -> str:
        """Return the split to compare on. The validation pairs also chose the epoch, which favours the new one."""
        splits = {split["split"]: split["pairs"] for split in self._data.report["splits"]}
        large = (name for name, pairs in splits.items() if name.startswith("test") and pairs >= ENOUGH_TO_TEST)
        return next(large, "val")

    def _scores(self, names: object) -> dict[str, Any]:
        metrics = {name: read_json(self._training.comparison / name / "metrics.json") for name in names}
        scores = {name: {"BLEU": each["bleu"], "chrF": each["chrf"]} for name, each in metrics.items()}
        new = metrics["new"]
        data = {"split": new["split"], "sentences": new["sentences"], "new": scores["new"], "old": scores.get("old")}
        return {"data": data, "replay": None}
