"""Run `python -m training` as a separate process, so that its failures cannot harm the service."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from captioner.errors import DataError
from captioner.files import write_json

Run = Callable[..., str]
"""A function that runs a command of `training` and waits for it, like `run`."""

WAKE_SPINS = "6000"
"""Number of checks, a quarter of a millisecond in all, that an idle thread of GNU OpenMP makes before it sleeps.

A training step has thousands of short parallel parts, and waking a thread for each takes a quarter of the step. Threads
that check for longer take the cores from captions, and from torch's second pool of threads.
"""

MODULE = "training"
"""Package whose commands run."""

_ROOT = Path(__file__).parents[1]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", MODULE, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Return the environment of the process: it finds the packages from any folder, and its idle threads sleep."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    overrides = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1"}
    threads = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": WAKE_SPINS}
    return os.environ | overrides | threads | {"TQDM_MININTERVAL": "10"}  # progress bars go to a log


def run(*arguments: str | Path) -> str:
    """Run a command of `training` and wait for it -> its output.

    Raises DataError with the error message of the command if it fails.
    """
    result = subprocess.run(
        command(*arguments), env=environment(), capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL
    )
    if result.returncode == -signal.SIGKILL:
        raise DataError(
            f"`training {arguments[0]}` was killed, most likely because the machine ran out of memory: try again"
        )
    if result.returncode:
        raise DataError(last_error(result.stderr) or f"`training {arguments[0]}` failed: {result.stderr[-2000:]}")
    return result.stdout


def fit_command(request: dict[str, Any]) -> list[str]:
    """Return the command that trains a captioner, or a translator of the languages of a request."""
    if request["target"] is None:
        return ["fit"]
    return ["fit-translator", "--source", request["source"], "--target", request["target"]]


def fit_arguments(request: dict[str, Any], options_file: Path) -> list[str | Path]:
    """Return the `fit` arguments for the requested options, which are written to `options_file`."""
    write_json(options_file, request["options"])
    return ["--options", options_file, *(["--preset", request["preset"]] if request["preset"] else [])]


def chosen_options(
    request: dict[str, Any], data: Path, bundle: Path | None, folder: Path, run: Run = run
) -> dict[str, Any]:
    """Return all options of a training. Raises DataError with the error message if they are refused.

    data: the data set. bundle: the captioner or translator to start from. folder: for temporary files. run: runs the
    fit command with `--check`.
    """
    with tempfile.TemporaryDirectory(prefix=".add-", dir=folder) as temporary:
        start_arguments = ["--from-bundle", bundle] if bundle else []
        start_arguments += ["--replay", data] if request["replay"] else []
        option_arguments = fit_arguments(request, Path(temporary) / "options.json")
        arguments = ["--data", data, "--output", Path(temporary) / "run", *option_arguments, *start_arguments]
        output = run(*fit_command(request), "--check", *arguments)
    return json.loads(output)


def last_error(text: str) -> str | None:
    """Return the error message that a command ended with, which may span lines; None if it crashed."""
    start = text.rfind("error: ", 0) if text.startswith("error: ") else text.rfind("\nerror: ") + 1
    return text[start + len("error: ") :].strip() if text[start:].startswith("error: ") else None
