"""Options of a recipe, from a JSON file: the captioner, its training stages, and how it is finished."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from captioner.config import CaptionerConfig, DecodingOptions
from captioner.errors import ConfigError
from training.options import FitOptions


@dataclass(frozen=True)
class Stage:
    """Part of a training run, one call of `fit`; later stages resume the run with changed options."""

    name: str
    options: Mapping[str, Any]
    """Training options, in addition to those of earlier stages of its run."""
    new_run: bool = False
    """Whether it starts another training run, from the best captioner of the stage before it."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of a captioner."""

    captioner: Mapping[str, Any]
    """Options of CaptionerConfig."""
    validation: Mapping[str, Any]
    """Options of DecodingOptions to compare epochs with."""
    stages: tuple[Stage, ...]
    average: Mapping[str, float]
    """Stage -> share of its weights in the captioner; empty: the best weights of all stages."""
    decoding: Mapping[str, Sequence[Any]]
    """Options of DecodingOptions -> values to try on the validation photos, one option after the other."""
    confidence: bool = True
    """Whether to fit a confidence model on the validation photos."""
    decoding_photos: int = 0
    """Maximum number of validation photos of each data set to select decoding options with; 0 for all."""
    notes: tuple[str, ...] = ()
    """Paragraphs for the end of the model card: licences and limits."""

    def options_at(self, number: int) -> dict[str, Any]:
        """Return the training options at a stage: those of all stages of its run so far."""
        stages = self.stages[self.start_of_run(number) : number + 1]
        return {name: value for stage in stages for name, value in stage.options.items()}

    def start_of_run(self, number: int) -> int:
        """Return the number of the first stage of the training run that a stage belongs to."""
        return max((first for first in range(1, number + 1) if self.stages[first].new_run), default=0)

    def check(self) -> None:
        """Raise ConfigError for an unknown option or a value that is not allowed."""
        CaptionerConfig(**dict(self.captioner))
        DecodingOptions(**dict(self.validation))
        for number in range(len(self.stages)):
            FitOptions(**self.options_at(number))
        if not all(isinstance(stage.new_run, bool) for stage in self.stages):
            raise ConfigError("new_run of a stage must be true or false")
        if self.stages and self.stages[0].new_run:
            raise ConfigError("the first stage cannot have new_run: there is no captioner yet to start from")
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a recipe needs stages with different names, not {', '.join(names) or 'none'}")
        if unknown := self.average.keys() - set(names):
            raise ConfigError(f"average names {min(unknown)!r}, which is no stage: the stages are {', '.join(names)}")
        if self.average and abs(sum(self.average.values()) - 1) > 1e-6:
            raise ConfigError(f"the shares of average must sum to 1, not to {sum(self.average.values()):g}")
        if not isinstance(self.confidence, bool):
            raise ConfigError(f"confidence must be true or false, not {self.confidence!r}")
        if type(self.decoding_photos) is not int or self.decoding_photos < 0:
            raise ConfigError(f"decoding_photos must be a whole number, 0 or above, not {self.decoding_photos!r}")
        if not isinstance(self.notes, tuple) or not all(isinstance(note, str) for note in self.notes):
            raise ConfigError(f"notes must be a list of paragraphs, not {self.notes!r}")
        for name, values in self.decoding.items():
            for value in values:
                DecodingOptions(**{**self.validation, name: value})
            if not values:
                raise ConfigError(f"decoding has no value of {name} to choose from: name some, or leave it out")


def load_recipe(file: Path) -> Recipe:
    """Read a recipe. Raises ConfigError with the file and its fault."""
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as JSON ({error}): name another by --recipe") from error
    field_names = {field.name for field in fields(Recipe)}
    try:
        if unknown := values.keys() - field_names:
            raise ConfigError(f"there is no {min(unknown)!r} in a recipe, only {', '.join(sorted(field_names))}")
        lists = {"stages": tuple(Stage(**stage) for stage in values["stages"])}
        if isinstance(values.get("notes"), list):
            lists["notes"] = tuple(values["notes"])
        recipe = Recipe(**{**values, **lists})
        recipe.check()
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} does not have the form of a recipe ({error}): see default.json") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from error
    return recipe


def flags(values: Mapping[str, Any]) -> list[str]:
    """Convert options to arguments of `fit`."""
    arguments = []
    for name, value in values.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            arguments.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            arguments += [f"--{flag}", str(value)]
    return arguments
