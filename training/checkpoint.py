"""Everything that is needed to go on with a run exactly, in one file that is always whole; apart from the bundle."""

import os
from pathlib import Path
from typing import Any

import torch

from captioner.errors import DataError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a run's state, plain values and tensors, together with the state of the random generators."""
    state = state | {"random": _random_state()}
    beside = path.with_name(f".{path.name}.part")
    with open(beside, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a run's state and put the random generators back. Raises DataError where the file is damaged."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        _restore_random_state(state.pop("random"))
    except Exception as error:  # whatever a damaged file raises, or one of something else
        raise DataError(
            f"{path} is damaged and the run cannot be resumed ({type(error).__name__}): start anew"
        ) from error
    return state


def _random_state() -> dict[str, Any]:
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
