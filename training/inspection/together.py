"""Joint report on several data sets of one run: total sizes, and shared photos."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from captioner.text.vocabulary import Vocabulary
from training.data.mixing import names_of
from training.data.records import DataSet, ImageRecord
from training.inspection.coverage import RareWords, rare_words_sentence
from training.inspection.images import SameImages, display_path
from training.inspection.report import (
    SplitCount,
    measure_rare_words,
    render_counts,
    render_group,
    render_list,
    split_counts,
)


@dataclass(frozen=True)
class JointReport:
    """Joint report on several data sets, in addition to the report of each."""

    names: tuple[str, ...]
    splits: tuple[SplitCount, ...]
    total: SplitCount
    rare_words: RareWords
    """Words that `fit` excludes from the vocabulary of all data sets."""
    shared: tuple[SameImages, ...]
    """Photos with the same bytes in several data sets."""

    @property
    def leaks(self) -> tuple[SameImages, ...]:
        """Photos that are training data in one data set and evaluation data in another."""
        return tuple(group for group in self.shared if group.leak)

    def to_json(self, max_entries: int | None = None) -> dict[str, Any]:
        """Return plain values with at most `max_entries` of the shared photos; `counts` has their number."""
        counts = {"shared": len(self.shared), "leaks": len(self.leaks)}
        values = asdict(self) | {"leaks": [asdict(leak) for leak in self.leaks[:max_entries]], "counts": counts}
        return values | {"shared": values["shared"][:max_entries]}


def inspect_together(
    data_sets: Sequence[DataSet], open_photos: bool = True, vocabulary: Vocabulary | None = None
) -> JointReport:
    """Measure data sets together. open_photos: compare photos of the same size in bytes by their SHA-256."""
    records = [record for data in data_sets for record in data.records]
    splits, total = split_counts(records)
    names = names_of(data_sets)
    shared = _find_shared(dict(zip(names, data_sets, strict=True))) if open_photos else []
    return JointReport(names, splits, total, measure_rare_words(records, vocabulary), tuple(shared))


def render(report: JointReport, examples: int = 3) -> str:
    """Return text for a terminal."""
    lines = [f"Together: {', '.join(report.names)}", "", *render_counts(report.splits, report.total)]
    lines += ["", f"{'rare words':12}{rare_words_sentence(report.rare_words)}"]
    others = [group for group in report.shared if not group.leak]
    headings = {"training images that another data set evaluates on": report.leaks}
    headings |= {"images in several data sets": others}
    for heading, groups in headings.items():
        lines += render_list(heading, [render_group(group) for group in groups], examples)
    return "\n".join(lines) + "\n"


def _find_shared(data_sets: dict[str, DataSet]) -> list[SameImages]:
    """Find photos with the same bytes in several data sets; skip missing files."""
    by_size: dict[int, dict[Path, list[tuple[str, ImageRecord]]]] = defaultdict(lambda: defaultdict(list))
    for name, data in data_sets.items():
        for record in data.records:
            try:
                by_size[record.path.stat().st_size][record.path].append((name, record))
            except OSError:
                continue
    groups: dict[bytes, list[tuple[str, ImageRecord]]] = defaultdict(list)
    for photos in by_size.values():
        if len({name for entries in photos.values() for name, _ in entries}) > 1:
            for path, entries in photos.items():
                groups[hashlib.sha256(path.read_bytes()).digest()] += entries
    return [
        SameImages(
            tuple(f"{name}: {display_path(record.path, data_sets[name].root)}" for name, record in entries),
            tuple(record.split for _, record in entries),
        )
        for entries in groups.values()
        if len({name for name, _ in entries}) > 1
    ]
