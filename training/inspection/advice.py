"""Whether a data set can be trained on, and what a person should know before they do."""

from captioner.counting import counted
from captioner.vocabulary import tokenise
from training.data.lost_captions import lost_captions
from training.data.records import DataSet
from training.inspection.coverage import vocabulary_warning
from training.inspection.report import Report
from training.options import MAX_TRAINING_WORDS

FEW_PHOTOS = 100
"""With fewer, a captioner mostly learns them by heart."""


def advice(data: DataSet, report: Report) -> tuple[bool, tuple[str, ...]]:
    """Whether training would begin, and sentences on what is wrong or weak, the gravest first."""
    known = set(data.problems)  # photos that the reader has left out are not in the total
    unreadable = sum(problem.kind == "unreadable_image" and problem not in known for problem in report.problems)
    photos = report.total.images - unreadable
    if photos == 0:
        return False, (
            "Nothing here can be used: there is no photo that can be read and has a caption. The lists of problems"
            " say what was refused, and why.",
        )
    same = max((len(same.paths) for same in report.same_images), default=1)
    if photos == 1:
        return False, ("There is one photo to learn from, and none to see whether it was learned: add more photos.",)
    if same >= photos:
        return False, (
            f"All {photos} photos are the same picture: there is nothing to tell apart. Add photos that differ.",
        )
    if not any(count.split == "train" for count in report.splits):
        named = ", ".join(f"{count.images:,} {count.split or 'no split'}" for count in report.splits)
        return False, (
            f"No photo is in the train split ({named}): the data set's own splits leave nothing to learn from. Name"
            " photos of train in it; or take the names of splits out of it (of the column, the files or the folders),"
            " and splits are drawn.",
        )
    sentences = []
    if warning := vocabulary_warning(report.rare_words):
        sentences.append(warning)
    if photos < FEW_PHOTOS:
        sentences.append(
            f"{photos} photos are few: the captioner may learn them by heart, and its scores say little. Some hundred"
            " make a better start."
        )
    if report.leaks:
        sentences.append(
            f"{_photos(report.leaks)} stand in two splits: the scores will flatter. Keep each photo in one split."
        )
    if leaking := [same for same in report.similar_images if same.leak]:
        sentences.append(f"{_photos(leaking)} look like others in another split: the scores may flatter.")
    if report.words.per_caption.max > MAX_TRAINING_WORDS:
        long = sum(len(tokenise(text)) > MAX_TRAINING_WORDS for record in data.records for text in record.captions)
        have = f"{counted(long, 'caption')} {'has' if long == 1 else 'have'}"
        sentences.append(f"{have} more than {MAX_TRAINING_WORDS} words: the rest of each is not learned.")
    if len(report.languages) > 1:
        codes = ", ".join(f"{code} {share:.0%}" for code, share in report.languages)
        sentences.append(f"The captions seem to be in several languages ({codes}): it will learn to mix them.")
    if lost := lost_captions(report.problems):
        sentences.append(lost)
    doubtful = sum(problem.kind == "doubtful_caption" for problem in report.problems)
    if doubtful:
        look = f"{counted(doubtful, 'caption')} {'looks' if doubtful == 1 else 'look'} wrong and will be learned"
        sentences.append(f"{look} (web addresses, file names, lost characters): correct them, or take them out.")
    if report.total.captions < 2 * report.total.images:
        sentences.append("Most photos have one caption: the more ways of saying it a photo has, the better it learns.")
    return True, tuple(sentences)


def _photos(groups) -> str:
    return counted(sum(len(group.paths) for group in groups), "photo")
