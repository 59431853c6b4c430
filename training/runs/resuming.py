"""Options that may change when a run is resumed, and those that may not."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from captioner.errors import ConfigError
from training.options import FitOptions, phases

PHASES = ("cross_entropy", "fine_tune", "self_critical")
"""Names of the phases in order, as in `training.options.phases`."""

FIXED = {
    "min_count": "it selected the words of the captioner",
    "source_pieces": "it selected the pieces of words",
    "target_pieces": "it selected the pieces of words",
    "validation_pairs": "scores on other sentences cannot be compared with the best score so far",
    "sentence_min_count": "it selected the words of the captioner",
    "seed": "it drew the first weights and the validation photos",
    "validation_images": "scores on other photos cannot be compared with the best score so far",
}
"""Training options that cannot change, with the reason."""

OF_PHASE = {
    "epochs": "cross_entropy",
    "learning_rate": "cross_entropy",
    "expected_share": "cross_entropy",
    "fine_tune_epochs": "fine_tune",
    "fine_tune_learning_rate": "fine_tune",
    "encoder_learning_rate": "fine_tune",
    "label_weight": "fine_tune",
}
"""Training options of one phase: they can change until a later phase has started."""

BEFORE_PHASE = {"fine_tune_stages": "fine_tune"}
"""Training options that can change until their phase has started."""

APPLIED_TO_MODEL = frozenset({"dropout"})
"""Options of the captioner that affect training but not its architecture. All others cannot change."""

_OTHER_DATA = {
    "also": "other data sets beside --data (--also)",
    "photos": "other photos, captions or splits",
    "start": "another captioner or translator to start from, or none (--from-bundle)",
    "replay_photos": "other photos or captions of the earlier data (--replay)",
    "label_names": "other names of classes (--label-names)",
    "sentences": "other sentences, or none (--sentences)",
}
_SAME_DATA = "resume with the data, and the captioner or translator, of that run, or name another --output"


COMMANDS = {"captioner": "fit", "translator": "fit-translator"}
"""Name of the trained model, which is that of its config in a checkpoint -> command that resumes its run."""


def check_kind(run: Mapping[str, Any], kind: str, path: Path) -> None:
    """Raise ConfigError if a checkpoint is of a run that trains something else. kind: a key of COMMANDS."""
    for other, command in COMMANDS.items():
        if other != kind and other in run:
            raise ConfigError(
                f"{path} is of the run of a {other}, not of a {kind}: resume it with `python -m training {command}"
                " --resume`, or name another --output"
            )


def compare_runs(stored: Mapping[str, Any], current: Mapping[str, Any], phase: str, path: Path) -> dict[str, str]:
    """Compare a checkpoint's run with the run that resumes it.

    stored, current: "options", "captioner" or "translator", and "decoding" as JSON, and other entries that identify a
    run. Entries that only one of them has are ignored, because older checkpoints lack some. phase: current phase of the
    run.
    Returns option name -> sentence for each changed option; all of these are applied.
    Raises ConfigError for the first option that cannot change.
    """
    changes = {}
    _check_same("sentences", stored, current, path)  # before the captioner, whose option `text` depends on them
    parts = {
        "options": _explain_fixed_option,
        "captioner": _explain_fixed_model,
        "translator": _explain_fixed_model,
        "decoding": _explain_fixed_decoding,
    }
    for part, explain in parts.items():
        for name, value in current.get(part, {}).items():
            if part not in stored or (stored_value := stored[part].get(name, value)) == value:
                continue
            if reason := explain(name, phase):
                raise ConfigError(
                    f"{path} is of a run with {name} {stored_value!r}, not {value!r}: {reason};"
                    f" resume without {_flag(name)}, or start a new run with another --output"
                )
            changes[name] = f"resumed with {name} {value!r} instead of {stored_value!r}"
    for name in current:
        if name not in parts:
            _check_same(name, stored, current, path)
    return changes


def _check_same(name: str, stored: Mapping[str, Any], current: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError if an entry that identifies a run differs."""
    if name not in stored or name not in current or stored[name] == current[name]:
        return
    difference = _OTHER_DATA.get(name) or f"{name} {stored[name]!r}, not {current[name]!r}"
    raise ConfigError(f"{path} is of a run with {difference}: {_SAME_DATA}")


def _explain_fixed_option(name: str, phase: str) -> str | None:
    """Return why a training option cannot change while a run is in this phase; None if it can."""
    current_phase = PHASES.index(phase) if phase else 0
    if name in OF_PHASE and PHASES.index(OF_PHASE[name]) < current_phase:
        return f"the phase {OF_PHASE[name]} has finished"
    if name in BEFORE_PHASE and PHASES.index(BEFORE_PHASE[name]) <= current_phase:
        return f"the phase {BEFORE_PHASE[name]} has started"
    return FIXED.get(name)


def _explain_fixed_model(name: str, phase: str) -> str | None:
    return None if name in APPLIED_TO_MODEL else "its architecture and preprocessing are fixed once training starts"


def _explain_fixed_decoding(name: str, phase: str) -> str:
    return "captions that are decoded differently cannot be compared with the best so far"


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def stored_options(run: Mapping[str, Any]) -> FitOptions:
    """Return the training options of a checkpoint's run, without those that are unknown to this version."""
    option_names = {field.name for field in fields(FitOptions)}
    return FitOptions(**{name: value for name, value in run["options"].items() if name in option_names})


def upgrade_state(state: dict[str, Any]) -> dict[str, Any]:
    """Convert the state of a checkpoint of any version to the current form.

    Older ones keep one named loss, of sentences. Still older ones number phases instead of naming them, hold the
    next phase once one is finished, and have no sentences.
    """
    state = state | {"run": {"sentences": None, **state["run"]}, "progress": dict(state["progress"])}
    progress = state["progress"]
    if sentences := progress.pop("sentence_loss_sum", 0.0):
        progress["losses"] = {"sentence": [sentences, progress["step"]]}
    if isinstance(progress["phase"], str):
        return state
    plan = phases(stored_options(state["run"]))
    if state["between_phases"]:
        finished_phase = plan[progress["phase"] - 1]
        progress |= {"phase": finished_phase.name, "epoch": finished_phase.epochs}
    else:
        progress["phase"] = plan[progress["phase"]].name
    run = dict(state["run"])
    if run.get("replay") is not None:  # replayed photos were counted among the training photos
        del run["train_images"]
    return state | {"progress": progress, "run": run}
