"""Unused captions of a data set, counted by reason."""

from collections import Counter
from collections.abc import Sequence

from captioner.text.counting import counted
from training.data.records import DataSet, Problem

LOST_AS = {
    "bad_entry": "in lines that cannot be read",
    "empty_caption": "empty",
    "no_caption": "replaced by a placeholder (nan, None, n/a, ...)",
    "rejected_caption": "that the data set marks as rejected",
    "precanned_caption": "that the data set marks as precanned",
    "repeated_entry": "repeated",
    "unknown_image": "of unknown photos",
    "missing_image": "of photos that are missing",
    "unreadable_image": "of photos that cannot be read",
    "stray_sidecar": "in text files without a photo",
}
"""Kind of problem -> description of its captions, after their number."""


def lost_captions(problems: Sequence[Problem]) -> str | None:
    """Count the unused captions by kind, in a sentence; None if all are used."""
    lost: Counter[str] = Counter()
    for problem in problems:
        lost[problem.kind] += problem.lost
    if not lost.total():
        return None
    kinds = ", ".join(f"{count:,} {LOST_AS.get(kind, kind)}" for kind, count in lost.most_common() if count)
    return f"{counted(lost.total(), 'caption')} not used: {kinds}."


def problems_summary(data: DataSet) -> str:
    """Summarise how many captions the problems of a data set cost, and which command lists the problems."""
    lost = lost_captions(data.problems) or "All captions are used."
    return f"{lost} {counted(len(data.problems), 'problem')} in {data.root}: `python -m training inspect` lists them"
