"""Report on a data set before training: counts, words, duplicates, leaks and problems."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from captioner.text.counting import counted
from captioner.text.vocabulary import Vocabulary
from training.data.readers.listing import SPLITS, ImageRecord, Problem
from training.data.readers.photos import count_hidden_files
from training.data.records import DataSet
from training.inspection.coverage import RareWords, percent, rare_words, rare_words_sentence
from training.inspection.images import SameImages, check_images, same_images, similar_images
from training.inspection.languages import UnknownWords, languages, unknown_words
from training.inspection.statistics import (
    FREQUENT,
    RepeatedCaption,
    Spread,
    Words,
    measure_words,
    repeated_captions,
    spread,
    training_words,
)
from training.options import default_min_count


@dataclass(frozen=True)
class SplitCount:
    """Size of one split."""

    split: str | None
    """None: photos outside the data set's own splits."""
    images: int
    captions: int
    captions_per_image: Spread


@dataclass(frozen=True)
class Report:
    """Result of `inspect_data`."""

    name: str
    format: str
    root: str
    drawn_splits: bool
    checked_images: bool
    """Whether every photo was opened; if not, only equal paths count as the same image."""
    splits: tuple[SplitCount, ...]
    total: SplitCount
    words: Words
    languages: tuple[tuple[str, float], ...]
    """Language code and share of the photos, the largest first."""
    rare_words: RareWords
    """Words that `fit` excludes from the vocabulary by default."""
    unknown_words: UnknownWords | None
    """Words that the given captioner does not know; None if none was given."""
    same_images: tuple[SameImages, ...]
    similar_images: tuple[SameImages, ...]
    """Photos that look alike but whose files differ."""
    repeated_captions: tuple[RepeatedCaption, ...]
    """Most frequent first."""
    problems: tuple[Problem, ...]
    """Problems of the reader, then unreadable photos (unreadable_image) and truncated ones (cut_short_image)."""

    @property
    def leaks(self) -> tuple[SameImages, ...]:
        return tuple(group for group in self.same_images if group.leak)

    def to_json(self, max_entries: int | None = None) -> dict[str, Any]:
        """Return everything as plain values; problems counted by kind and in full; the headings of what is there.

        max_entries: maximum length of each list, and of the problems of each kind; `counts` has the full numbers.
        """
        values = dataclasses.asdict(self)
        values["leaks"] = [dataclasses.asdict(leak) for leak in self.leaks]
        values["problem_counts"] = dict(Counter(problem.kind for problem in self.problems))
        lists = ("leaks", "same_images", "similar_images", "repeated_captions")
        values["counts"] = {name: len(values[name]) for name in lists}
        counts = Counter(values["counts"]) + Counter(values["problem_counts"])  # without those that are 0
        values["headings"] = {name: heading_of(name) for name in (*HEADINGS, *counts) if name in counts}
        if max_entries is not None:
            for name in lists:
                values[name] = values[name][:max_entries]
            for group in (*values["leaks"], *values["same_images"], *values["similar_images"]):
                group["paths"], group["splits"] = group["paths"][:max_entries], group["splits"][:max_entries]
            kind_counts: Counter[str] = Counter()
            kept_problems = []
            for problem in values["problems"]:
                kind_counts[problem["kind"]] += 1
                if kind_counts[problem["kind"]] <= max_entries:
                    kept_problems.append(problem)
            values["problems"] = kept_problems
        return values


MAX_LINE_LENGTH = 200
"""Maximum length of an example in the text, in characters."""

HEADINGS = {
    "leaks": "images in two splits",
    "same_images": "images that occur more than once",
    "similar_images": "images that look alike",
    "repeated_captions": "captions that occur more than once",
    "bad_entry": "refused lines and entries",
    "empty_caption": "empty captions",
    "no_caption": "placeholders instead of a caption (nan, None, n/a, ...), left out",
    "rejected_caption": "captions that their data set marks as rejected, left out",
    "precanned_caption": "captions that their data set marks as precanned, left out",
    "cleaned_caption": "captions cleaned of HTML, escapes or invisible characters, and used",
    "doubtful_caption": "captions that look wrong, and are used",
    "repeated_entry": "repeated lines and entries",
    "unknown_image": "lines about unknown images",
    "missing_image": "missing images",
    "found_elsewhere": "photos found under another name or in another folder, and used",
    "same_name": "names that several photos have, of which the first is used",
    "other_case": "photos named with other capitals than their files, used anyway",
    "unreadable_image": "unreadable images",
    "cut_short_image": "images whose files are cut short, and are used",
    "uncaptioned_image": "images without captions",
    "two_splits": "lines that put an image into a second split",
    "repeated_id": "repeated image ids",
    "other_id_type": "ids that are numbers in one place and text in another, and are used",
    "stray_sidecar": "stray sidecars",
    "unused_column": "columns of captions that are not used",
    "unused_file": "unused files",
    "ignored_file": "files that systems leave behind, skipped",
}
"""Name of a list in the report, or kind of problem -> heading for people, in the order of the text.

The JSON form of a report carries the headings of what it has, so that the page needs none of its own.
"""


def inspect_data(
    data: DataSet, open_photos: bool = True, progress: bool = True, vocabulary: Vocabulary | None = None
) -> Report:
    """Measure a data set.

    open_photos: open and decode every photo as training would, and compare their bytes (SHA-256) and looks (pHash).
    progress: show a progress bar on standard error.
    vocabulary: that of a captioner, to report its unknown words.
    """
    unreadable, hashes = check_images(data, progress) if open_photos else ([], {})
    splits, total = split_counts(data.records)
    return Report(
        name=data.name,
        format=data.format,
        root=str(data.root),
        drawn_splits=data.drawn_splits,
        checked_images=open_photos,
        splits=splits,
        total=total,
        words=measure_words(data.records),
        languages=languages(data.records),
        rare_words=measure_rare_words(data.records, vocabulary),
        unknown_words=None if vocabulary is None else unknown_words(data.records, vocabulary),
        same_images=same_images(data, hashes),
        similar_images=similar_images(data, hashes),
        repeated_captions=repeated_captions(data.records),
        problems=(*data.problems, *unreadable, *_count_ignored(data)),
    )


def measure_rare_words(records: Sequence[ImageRecord], vocabulary: Vocabulary | None) -> RareWords:
    """Measure rare words with the min_count that `fit` would use, from scratch or from this vocabulary's captioner."""
    counts = training_words(records)
    min_count = default_min_count(counts.total(), from_captioner=vocabulary is not None)
    return rare_words(counts, min_count, () if vocabulary is None else vocabulary)


def split_counts(records: Sequence[ImageRecord]) -> tuple[tuple[SplitCount, ...], SplitCount]:
    """Count the photos of each non-empty split, and all photos."""
    counts = Counter(record.split for record in records)
    splits = [split for split in (*SPLITS, None) if counts[split]]
    split_sizes = tuple(
        _measure_split(split, [record for record in records if record.split == split]) for split in splits
    )
    return split_sizes, _measure_split(None, records)


def _measure_split(split: str | None, records: Sequence[ImageRecord]) -> SplitCount:
    lengths = [len(record.captions) for record in records]
    return SplitCount(split, len(records), sum(lengths), spread(lengths))


def _count_ignored(data: DataSet) -> list[Problem]:
    """Count hidden files by name, such as those that macOS leaves in every folder, perhaps one for each photo."""
    counts = Counter("._*" if name.startswith("._") else name for name in count_hidden_files(data.root).elements())
    return [Problem("ignored_file", name, None, f"skipped, {count:,} in all") for name, count in counts.items()]


def render(report: Report, examples: int = 3) -> str:
    """Render the report as text for a terminal, with the first `examples` of every list and the number of the rest."""
    source = "splits drawn by image, as it has none" if report.drawn_splits else "its own splits"
    lines = [f"{report.name}: {report.format} format, {source}", report.root, ""]
    lines += render_counts(report.splits, report.total)
    if report.total.captions:
        lines += ["", *_render_words(report)]
    else:
        lines += ["", "Nothing here can be used."]
    lines += render_list(HEADINGS["leaks"], [render_group(group) for group in report.leaks], examples)
    others = [render_group(group) for group in report.same_images if not group.leak]
    lines += render_list(HEADINGS["same_images"], others, examples)
    lines += render_list(HEADINGS["similar_images"], [render_group(group) for group in report.similar_images], examples)
    repeated = [
        f'{caption.count} times, images {caption.images}: "{caption.text}"' for caption in report.repeated_captions
    ]
    lines += render_list(HEADINGS["repeated_captions"], repeated, examples)
    for kind in dict.fromkeys([*HEADINGS, *(problem.kind for problem in report.problems)]):
        descriptions = [str(problem) for problem in report.problems if problem.kind == kind]
        lines += render_list(heading_of(kind), descriptions, examples)
    if not (report.problems or report.same_images):
        lines += ["", "No problems found."]
    if not report.checked_images:
        lines += ["", "The photos were not opened: unreadable and identical ones are not reported."]
    return "\n".join(lines) + "\n"


def heading_of(name: str) -> str:
    """Return the heading of a list or a kind of problem; for an unknown kind, its name as words."""
    return HEADINGS.get(name, name.replace("_", " "))


def render_counts(splits: Sequence[SplitCount], total: SplitCount) -> list[str]:
    """Render a table of the photos and captions of each split, and of all."""
    lines = [f"{'':10}{'images':>10}{'captions':>12}   captions per image"]
    for count in (*splits, total):
        name = "total" if count is total else count.split or "no split"
        lengths = count.captions_per_image
        per_image = f"{lengths.mean:.1f}"
        if lengths.min < lengths.max:
            per_image += f" ({lengths.min} to {lengths.max})"
        left_out = "   left out by the data set's splits" if name == "no split" else ""
        lines.append(f"{name:10}{count.images:>10,}{count.captions:>12,}   {per_image}{left_out}")
    return lines


def _render_words(report: Report) -> list[str]:
    words = report.words
    length = words.per_caption
    frequent = " · ".join(f"{word} {count:,}" for word, count in words.most_frequent[:8])
    lines = [
        f"{'length':12}{length.mean:.1f} words a caption, {length.min} to {length.max}; 95 % have at most"
        f" {length.percentile_95}",
        f"{'vocabulary':12}{counted(words.vocabulary, 'word')}, {words.frequent:,} of them {FREQUENT} times or more",
        f"{'rare words':12}{rare_words_sentence(report.rare_words)}",
        f"{'frequent':12}{frequent}",
        f"{'scripts':12}{', '.join(f'{script} {percent(share)}' for script, share in words.scripts) or 'none'}",
        f"{'languages':12}{', '.join(f'{code} {percent(share)}' for code, share in report.languages) or 'unknown'}",
    ]
    if (unknown := report.unknown_words) is not None:
        examples = " · ".join(f"{word} {count:,}" for word, count in unknown.most_frequent[:8])
        lines.append(
            f"{'new words':12}{unknown.words:,} that the captioner does not know, {percent(unknown.share)} of all"
        )
        lines += [f"{'':12}{examples}"] if examples else []
    return lines


def render_list(heading: str, entries: list[str], examples: int) -> list[str]:
    """Render a list below its heading; return no lines if the list is empty."""
    if not entries:
        return []
    lines = ["", f"{heading[0].upper()}{heading[1:]}: {len(entries):,}"]
    lines += [
        f"  {text if len(text) <= MAX_LINE_LENGTH else text[: MAX_LINE_LENGTH - 1] + '…'}"
        for text in entries[:examples]
    ]
    if len(entries) > examples:
        lines.append(f"  … and {len(entries) - examples:,} more")
    return lines


def render_group(group: SameImages) -> str:
    """Render a group as one line: each path with its split."""
    return " = ".join(f"{path} ({split or 'no split'})" for path, split in zip(group.paths, group.splits, strict=True))
