"""Options of a bulk run, the files that follow from them, and its totals."""

from dataclasses import dataclass
from pathlib import Path

from captioner.bulk.exports import OutputGuard
from captioner.bulk.formats import EXPORT_SUFFIXES, SUFFIXES
from captioner.bulk.journal import Journal
from captioner.bulk.sidecars import SidecarOptions
from captioner.captioner import Caption

RUN_FOLDER = ".captioner"
"""Folder for the journals of a run whose output lies among photos; hidden, so that readers of data sets ignore it."""


@dataclass(frozen=True)
class BulkOptions:
    """Options of a bulk run."""

    output: Path
    """Output file, or folder for the formats xmp and webdataset, and for the journals of sidecars."""
    format: str = "jsonl"
    """One of `formats.FORMATS`."""
    recursive: bool = False
    """Whether to search the folders in a folder."""
    batch_size: int = 16
    """Photos captioned at once."""
    workers: int = 1
    """Number of processes that read photos."""
    photo_seconds: float = 60.0
    """Time limit for reading a photo, and for writing its copy."""
    everything: bool = False
    """Whether the lines also hold words, probabilities, gates and maps."""
    min_confidence: float | None = None
    """Captions with a lower confidence go to a separate list; None: all go to the output."""
    sidecars: SidecarOptions | None = None
    """Options of the formats txt and caption; None for all others."""
    on_conflict: str = "skip"
    """Action for an existing file of `EXPORT_SUFFIXES` that no run wrote: one of `config.ON_CONFLICT`."""

    @property
    def captions(self) -> Journal:
        """Photos of this run, including the part before it was stopped."""
        if self.sidecars is not None:
            return Journal(self._journal.with_suffix(".part.jsonl"))
        return self.finished

    @property
    def finished(self) -> Journal:
        """Photos of the last run that came to its end: `captions`, but for sidecars, where every run starts anew."""
        return Journal(self._journal)

    @property
    def unreadable(self) -> Journal:
        return Journal(self._journal.with_suffix(".unreadable.jsonl"))

    @property
    def unsure(self) -> Journal:
        return Journal(self._journal.with_suffix(".unsure.jsonl"))

    @property
    def guard(self) -> OutputGuard | None:
        """Guard of the output, for the formats in `EXPORT_SUFFIXES`."""
        if self.format not in EXPORT_SUFFIXES:
            return None
        return OutputGuard(self.output, self._journal.with_suffix(".written"), self.on_conflict)

    @property
    def own_endings(self) -> tuple[str, ...]:
        """Ends of the names of files that the run writes beside photos."""
        if self.sidecars is not None:
            return self.sidecars.ending, f"{self.sidecars.ending}.bak"
        return (self.output.name.lower(),) if self.format in EXPORT_SUFFIXES else ()

    @property
    def _journal(self) -> Path:
        if self.format == "xmp":
            return self.output / "captions.jsonl"
        if self.format in SUFFIXES:
            return self.output.with_suffix(".jsonl")
        if self.sidecars is not None or self.format == "webdataset":  # the output is a folder
            return self.output / RUN_FOLDER / f"{self.format}.jsonl"
        return self.output.parent / RUN_FOLDER / f"{self.output.name}.jsonl"

    def is_unsure(self, caption: Caption) -> bool:
        """Return whether a photo's caption belongs to the list of captions to review."""
        return self.min_confidence is not None and caption.confidence < self.min_confidence


@dataclass(frozen=True)
class Totals:
    """Numbers of photos in the files, including earlier runs."""

    captioned: int
    """Without those in the list of captions to review."""
    unreadable: int
    unsure: int
    warnings: dict[str, int]
    """Kind of warning -> number of photos that have it."""
    kept: int = 0
    """Photos whose sidecar was there already and stays as it is; they are not captioned."""
