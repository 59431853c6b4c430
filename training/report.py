"""What a data set holds, measured before anything is trained on it: counts, words, duplicates, leaks, refusals."""

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from captioner.errors import ImageError
from captioner.images import open_image
from training.caption_statistics import (
    FREQUENT,
    RepeatedCaption,
    Spread,
    Words,
    measure_words,
    repeated_captions,
    spread,
)
from training.readers.listing import SPLITS, ImageRecord, Problem
from training.records import DataSet


@dataclass(frozen=True)
class SplitCount:
    """How much one split holds."""

    split: str | None
    """None: the photos that the data set's own splits leave out."""
    images: int
    captions: int
    captions_per_image: Spread


@dataclass(frozen=True)
class SameImages:
    """Photos with the same bytes, or several entries with the same file."""

    paths: tuple[str, ...]
    splits: tuple[str | None, ...]
    """Of each path."""

    @property
    def leak(self) -> bool:
        """Whether a model would be measured on what it was trained on: two different splits, none of them None."""
        return len({split for split in self.splits if split is not None}) > 1


@dataclass(frozen=True)
class Report:
    """Everything that `inspect_data` found."""

    name: str
    format: str
    root: str
    drawn_splits: bool
    checked_images: bool
    """Whether every photo was opened; without it only the same path counts as the same image."""
    splits: tuple[SplitCount, ...]
    total: SplitCount
    words: Words
    same_images: tuple[SameImages, ...]
    repeated_captions: tuple[RepeatedCaption, ...]
    """The most frequent first."""
    problems: tuple[Problem, ...]
    """Those of the reader, then the photos that cannot be read (kind unreadable_image)."""

    @property
    def leaks(self) -> tuple[SameImages, ...]:
        return tuple(same for same in self.same_images if same.leak)

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values; problems counted by kind and in full."""
        values = dataclasses.asdict(self)
        values["leaks"] = [dataclasses.asdict(leak) for leak in self.leaks]
        values["problem_counts"] = dict(Counter(problem.kind for problem in self.problems))
        return values


LONGEST_LINE = 200
"""Of an example in the text, in characters."""

HEADINGS = {
    "bad_entry": "refused lines and entries",
    "empty_caption": "empty captions",
    "repeated_entry": "repeated lines and entries",
    "unknown_image": "lines about unknown images",
    "missing_image": "missing images",
    "unreadable_image": "unreadable images",
    "uncaptioned_image": "images without captions",
    "two_splits": "lines that put an image into a second split",
    "repeated_id": "repeated image ids",
    "stray_sidecar": "stray sidecars",
    "unused_file": "unused files",
}
"""Kind of problem -> what a person reads above a list of them, in the order of the text."""


def inspect_data(data: DataSet, check_images: bool = True, progress: bool = True) -> Report:
    """Measure a data set.

    check_images: open and decode every photo as training would, and compare their bytes (SHA-256).
    progress: show a bar on standard error meanwhile.
    """
    unreadable, digests = _check_images(data, progress) if check_images else ([], {})
    found = Counter(record.split for record in data.records)
    splits = [split for split in (*SPLITS, None) if found[split]]
    return Report(
        name=data.name,
        format=data.format,
        root=str(data.root),
        drawn_splits=data.drawn_splits,
        checked_images=check_images,
        splits=tuple(_count(split, [record for record in data.records if record.split == split]) for split in splits),
        total=_count(None, data.records),
        words=measure_words(data.records),
        same_images=_same_images(data, digests),
        repeated_captions=repeated_captions(data.records),
        problems=(*data.problems, *unreadable),
    )


def _count(split: str | None, records: list[ImageRecord]) -> SplitCount:
    lengths = [len(record.captions) for record in records]
    return SplitCount(split, len(records), sum(lengths), spread(lengths))


def _check_images(data: DataSet, progress: bool) -> tuple[list[Problem], dict[Path, str]]:
    """Open every photo -> those that cannot be opened, and the digest of each file that can be read."""
    paths = list(dict.fromkeys(record.path for record in data.records))
    problems, digests = [], {}
    # Pillow decodes outside the interpreter's lock, so that threads use all cores.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        results = pool.map(_check_image, paths)
        for path, (digest, error) in zip(paths, tqdm(results, "photos", len(paths), disable=not progress), strict=True):
            if digest is not None:
                digests[path] = digest
            if error is not None:
                problems.append(Problem("unreadable_image", _shown_path(path, data.root), None, error))
    return problems, digests


def _check_image(path: Path) -> tuple[str | None, str | None]:
    """-> SHA-256 of the file, what is wrong with the photo."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return None, f"cannot be read: {error.strerror or error}"
    try:
        open_image(content, name="the photo")
    except ImageError as error:
        return hashlib.sha256(content).hexdigest(), str(error)
    return hashlib.sha256(content).hexdigest(), None


def _same_images(data: DataSet, digests: Mapping[Path, str]) -> tuple[SameImages, ...]:
    groups: dict[Hashable, list[ImageRecord]] = defaultdict(list)
    for record in data.records:
        groups[digests.get(record.path, record.path)].append(record)
    return tuple(
        SameImages(
            tuple(_shown_path(record.path, data.root) for record in records), tuple(record.split for record in records)
        )
        for records in groups.values()
        if len(records) > 1
    )


def _shown_path(path: Path, root: Path) -> str:
    """Relative to the data set where it lies inside; bytes that are not UTF-8 as their codes, to be printable."""
    absolute, inside = os.path.abspath(path), os.path.join(os.path.abspath(root), "")
    return absolute.removeprefix(inside).encode("utf-8", "backslashreplace").decode("utf-8")


def render(report: Report, examples: int = 3) -> str:
    """The report as text for a terminal: the first `examples` of every list, and how many more there are."""
    source = "splits drawn by image, as it has none" if report.drawn_splits else "its own splits"
    lines = [f"{report.name}: {report.format} format, {source}", report.root, ""]
    lines += _render_counts(report)
    if report.total.captions:
        lines += ["", *_render_words(report.words)]
    else:
        lines += ["", "Nothing here can be used."]
    lines += _render_list("images in two splits", [_same_text(same) for same in report.leaks], examples)
    others = [_same_text(same) for same in report.same_images if not same.leak]
    lines += _render_list("images that occur more than once", others, examples)
    repeated = [f'{same.count} times, images {same.images}: "{same.text}"' for same in report.repeated_captions]
    lines += _render_list("captions that occur more than once", repeated, examples)
    for kind, heading in HEADINGS.items():
        found = [str(problem) for problem in report.problems if problem.kind == kind]
        lines += _render_list(heading, found, examples)
    if not (report.problems or report.same_images):
        lines += ["", "No problems found."]
    if not report.checked_images:
        lines += ["", "The photos were not opened: unreadable and identical ones are not told."]
    return "\n".join(lines) + "\n"


def _render_counts(report: Report) -> list[str]:
    lines = [f"{'':10}{'images':>10}{'captions':>12}   captions per image"]
    for count in (*report.splits, report.total):
        name = "total" if count is report.total else count.split or "no split"
        each = count.captions_per_image
        per_image = f"{each.mean:.1f}" if each.min == each.max else f"{each.mean:.1f} ({each.min} to {each.max})"
        left_out = "   left out by the data set's splits" if name == "no split" else ""
        lines.append(f"{name:10}{count.images:>10,}{count.captions:>12,}   {per_image}{left_out}")
    return lines


def _render_words(words: Words) -> list[str]:
    length = words.per_caption
    frequent = " · ".join(f"{word} {count:,}" for word, count in words.most_frequent[:8])
    return [
        f"{'length':12}{length.mean:.1f} words a caption, {length.min} to {length.max}; 95 % have at most"
        f" {length.percentile_95}",
        f"{'vocabulary':12}{words.vocabulary:,} words, {words.frequent:,} of them {FREQUENT} times or more",
        f"{'frequent':12}{frequent}",
        f"{'scripts':12}{', '.join(f'{script} {_percent(share)}' for script, share in words.scripts) or 'none'}",
    ]


def _percent(share: float) -> str:
    return f"{share:.1%}".replace(".0%", "%").replace("%", " %") if share >= 0.001 else "under 0.1 %"


def _render_list(heading: str, found: list[str], examples: int) -> list[str]:
    if not found:
        return []
    lines = ["", f"{heading[0].upper()}{heading[1:]}: {len(found):,}"]
    lines += [f"  {text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + '…'}" for text in found[:examples]]
    if len(found) > examples:
        lines.append(f"  … and {len(found) - examples:,} more")
    return lines


def _same_text(same: SameImages) -> str:
    return " = ".join(f"{path} ({split or 'no split'})" for path, split in zip(same.paths, same.splits, strict=True))
