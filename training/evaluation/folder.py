"""The folder that an evaluation, a comparison or a recipe writes into."""

from pathlib import Path

from captioner.errors import DataError


def make_folder(folder: Path) -> None:
    """Make a folder for results, before the work that they take. Raises DataError if it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be created: {error.strerror}; choose another") from error
