"""The state of a run, apart from its bundle, from which the run resumes exactly; written atomically."""

from pathlib import Path
from typing import Any

import torch

from captioner.errors import DataError
from captioner.files import atomic_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a run's state, plain values and tensors, including `run` and `progress`.

    It needs no state of random generators, because each batch has a seed of its own.
    """
    with atomic_file(path, one_writer=True) as file:
        torch.save(state, file)


def load_checkpoint(path: Path, mapped: bool = False) -> dict[str, Any]:
    """Read a run's state. Raises DataError if the file is damaged.

    mapped: leave the tensors on disk until they are used.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
        if not state.keys() >= {"run", "progress"}:
            raise KeyError("of something else")
    except Exception as error:  # damaged and foreign files raise many kinds of errors
        raise DataError(
            f"{path} is damaged and the run cannot be resumed ({type(error).__name__}): start again"
        ) from error
    return state
