"""Steps of a recipe, each run once, timed and logged; a stopped recipe resumes at its next step."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from captioner.commands.extras import needs_extra
from captioner.errors import CaptionerError, DataError
from captioner.files import read_json, write_json
from training.evaluation.folder import make_folder

STEPS, LOG = "steps.json", "recipe.log"


class StepFailed(CaptionerError):
    """A step ended with a nonzero exit status, after printing its error."""

    def __init__(self, name: str, status: int):
        super().__init__(f"the step {name} ended with status {status}: start the recipe again to resume it")
        self.status = status


def exit_status(run_command: Callable[[], None]) -> int:
    """Run a recipe's command. Return its exit status: 0, 2 for an error that the user can fix, 130 when stopped."""
    try:
        with needs_extra("training"):
            run_command()
    except StepFailed as failure:
        print(failure, file=sys.stderr)
        return failure.status
    except CaptionerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command resumes", file=sys.stderr)
        return 130
    return 0


@dataclass(frozen=True)
class Step:
    """Step of a recipe. It must be able to run again after a kill."""

    name: str
    arguments: Mapping[str, Any]
    """Plain values that its result depends on: if they change, it and all later steps run again."""
    run: Callable[[], None]


class StepLog:
    """Runner of steps in order, which records them in `steps.json` and `recipe.log` of a folder."""

    def __init__(self, output: Path):
        self.output = output
        make_folder(output)

    def run_steps(self, steps: Sequence[Step]) -> None:
        """Run the steps that are not finished. Raises DataError if steps.json is damaged."""
        names = {step.name for step in steps}  # a changed recipe may have fewer steps
        entries = {name: entry for name, entry in self._read_entries().items() if name in names}
        skipping = True
        for number, step in enumerate(steps):
            arguments = json.loads(json.dumps(step.arguments))
            entry = entries.get(step.name, {})
            is_same = skipping and entry.get("arguments") == arguments
            if is_same and entry["finished"]:
                self.report(f"{step.name}: done before, in {duration(entry['seconds'])}")
                continue
            skipping = False
            for later_step in steps[number + 1 :]:  # their inputs change
                entries.pop(later_step.name, None)
            entry = {"arguments": arguments, "finished": None, "seconds": entry["seconds"] if is_same else 0.0}
            entries[step.name] = entry
            self._run_step(step, entry, entries)

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each step, without killed attempts."""
        return {name: entry["seconds"] for name, entry in self._read_entries().items()}

    def report(self, sentence: str) -> None:
        """Print a line, and add it to the log with the time."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        print(sentence, flush=True)
        with open(self.output / LOG, "a", encoding="utf-8") as log:
            log.write(f"{now} {sentence}\n")

    def _run_step(self, step: Step, entry: dict[str, Any], entries: Mapping[str, Any]) -> None:
        write_json(self.output / STEPS, entries)
        self.report(f"{step.name}: started")
        seconds_before, started_at, outcome = entry["seconds"], time.monotonic(), "stopped"
        try:
            step.run()
            outcome = "finished"
            entry["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        finally:
            entry["seconds"] = round(seconds_before + time.monotonic() - started_at, 1)
            write_json(self.output / STEPS, entries)
            self.report(f"{step.name}: {outcome} after {duration(entry['seconds'])}")

    def _read_entries(self) -> dict[str, Any]:
        path = self.output / STEPS
        try:
            return read_json(path, {})
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}): remove it to run all steps again") from error


def run_training(name: str, arguments: Sequence[str]) -> None:
    """Run a command of `python -m training`. name: of the step. Raises StepFailed."""
    from training.__main__ import main  # imports torch

    if status := main(arguments):
        raise StepFailed(name, status)


def has_begun(run: Path) -> bool:
    """Return whether a training run can be resumed."""
    from training.runs.run import CHECKPOINT, PROGRESS

    return any((run / file).is_file() for file in (CHECKPOINT, PROGRESS))


def start_or_resume(name: str, arguments: Sequence[str], run: Path) -> None:
    """Run a command that trains, with --resume if the run has begun. run: its --output. Raises StepFailed."""
    run_training(name, [*arguments, *(["--resume"] if has_begun(run) else [])])


def duration(seconds: float) -> str:
    """Format a duration for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
