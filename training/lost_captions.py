"""The captions of a data set that are not used, counted by the reason."""

from collections import Counter
from collections.abc import Sequence

from captioner.counting import counted
from training.records import DataSet, Problem

LOST_AS = {
    "bad_entry": "in lines that cannot be read",
    "empty_caption": "empty",
    "no_caption": "in which a placeholder stands (nan, None, n/a, ...)",
    "rejected_caption": "that the data set marks as rejected",
    "precanned_caption": "that the data set marks as precanned",
    "repeated_entry": "repeated",
    "unknown_image": "of unknown photos",
    "missing_image": "of photos that are missing",
    "unreadable_image": "of photos that cannot be read",
    "stray_sidecar": "in text files without a photo",
}
"""Kind of problem -> what its captions are, after their number."""


def lost_captions(problems: Sequence[Problem]) -> str | None:
    """A sentence that counts the captions that are not used, by kind; None where all are used."""
    lost: Counter[str] = Counter()
    for problem in problems:
        lost[problem.kind] += problem.lost
    if not lost.total():
        return None
    kinds = ", ".join(f"{count:,} {LOST_AS.get(kind, kind)}" for kind, count in lost.most_common() if count)
    return f"{counted(lost.total(), 'caption')} not used: {kinds}."


def problems_told(data: DataSet) -> str:
    """What `fit` says of the problems of a data set: how many captions they cost, by kind, and where to see them."""
    lost = lost_captions(data.problems) or "All captions are used."
    return f"{lost} {counted(len(data.problems), 'problem')} in {data.root}: `python -m training inspect` lists them"
