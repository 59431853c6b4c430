"""`python -m training` as a process of its own: what goes wrong there never touches the service."""

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
"""Runs a command of `training` to its end, as `run` does."""

MODULE = "training"
"""The package whose commands run."""

_ROOT = Path(__file__).parents[2]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", MODULE, *map(str, arguments)]


def environment() -> dict[str, str]:
    """Variables under which the process finds the packages wherever it is started, and leaves cores to others."""
    paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    own = {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUTF8": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return os.environ | own | {"TQDM_MININTERVAL": "10"}  # bars go into a log


def run(*arguments: str | Path) -> str:
    """Run a command of `training` to its end -> what it printed.

    Raises DataError with the sentence that it ended with, where it refused.
    """
    done = subprocess.run(
        command(*arguments), env=environment(), capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL
    )
    if done.returncode == -signal.SIGKILL:
        raise DataError(
            f"`training {arguments[0]}` was killed from outside, most likely as the machine had no memory left: try it"
            " again"
        )
    if done.returncode:
        raise DataError(last_error(done.stderr) or f"`training {arguments[0]}` failed: {done.stderr[-2000:]}")
    return done.stdout


def fit_choices(request: dict[str, Any], options_file: Path) -> list[str | Path]:
    """The arguments of `fit` that choose its options; those that were asked for are written into the file."""
    write_json(options_file, request["options"])
    return ["--options", options_file, *(["--preset", request["preset"]] if request["preset"] else [])]


def chosen_options(
    request: dict[str, Any], data: Path, bundle: Path | None, folder: Path, run: Run = run
) -> dict[str, Any]:
    """All options that a training would have. Raises DataError with the sentence where they are refused.

    data: what it learns from. bundle: the captioner that it goes on from. folder: where to keep a file meanwhile.
    run: runs `fit --check`.
    """
    with tempfile.TemporaryDirectory(prefix=".add-", dir=folder) as temporary:
        kind = ["--from-bundle", bundle] if bundle else []
        kind += ["--replay", data] if request["replay"] else []
        choices = fit_choices(request, Path(temporary) / "options.json")
        printed = run("fit", "--data", data, "--output", Path(temporary) / "run", "--check", *choices, *kind)
    return json.loads(printed)


def last_error(text: str) -> str | None:
    """The last sentence that a command ended with; None where it crashed instead. It may go on over some lines."""
    start = text.rfind("error: ", 0) if text.startswith("error: ") else text.rfind("\nerror: ") + 1
    return text[start + len("error: ") :].strip() if text[start:].startswith("error: ") else None
