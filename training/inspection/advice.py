"""Advice on a data set: whether training can start, and its weaknesses."""

from captioner.text.counting import counted
from captioner.text.vocabulary import tokenise
from training.data.lost_captions import lost_captions
from training.data.records import DataSet
from training.inspection.coverage import vocabulary_warning
from training.inspection.report import Report
from training.options import MAX_TRAINING_WORDS

FEW_PHOTOS = 100
"""Minimum number of photos below which a captioner mostly memorises them."""


def advice(data: DataSet, report: Report) -> tuple[bool, tuple[str, ...]]:
    """Return whether training would start, and sentences about errors and weaknesses, the most serious first."""
    reader_problems = set(data.problems)  # photos that the reader excluded are not in the total
    unreadable = sum(
        problem.kind == "unreadable_image" and problem not in reader_problems for problem in report.problems
    )
    photos = report.total.images - unreadable
    if photos == 0:
        return False, (
            "Nothing here can be used: no readable photo has a caption. The lists of problems say what was refused,"
            " and why.",
        )
    largest_group = max((len(group.paths) for group in report.same_images), default=1)
    if photos == 1:
        return False, ("There is one photo to train on, and none to validate with: add more photos.",)
    if largest_group >= photos:
        return False, (
            f"All {photos} photos are the same picture, so there is nothing to learn: add different photos.",
        )
    if not any(count.split == "train" for count in report.splits):
        counts = ", ".join(f"{count.images:,} {count.split or 'no split'}" for count in report.splits)
        return False, (
            f"No photo is in the train split ({counts}): the data set's own splits leave nothing to train on. Assign"
            " photos to train; or remove the splits (the column, or the names in files or folders), and splits are"
            " drawn.",
        )
    sentences = []
    if warning := vocabulary_warning(report.rare_words):
        sentences.append(warning)
    if photos < FEW_PHOTOS:
        sentences.append(
            f"{photos} photos are few: the captioner may memorise them, and its scores mean little. Use at least a few"
            " hundred."
        )
    if report.leaks:
        photos_in_two = _count_photos(report.leaks)
        sentences.append(
            f"{photos_in_two} are in two splits: the scores will be too high. Keep each photo in one split."
        )
    if similar_leaks := [group for group in report.similar_images if group.leak]:
        sentences.append(
            f"{_count_photos(similar_leaks)} look like others in another split: the scores may be too high."
        )
    if report.words.per_caption.max > MAX_TRAINING_WORDS:
        long_captions = sum(
            len(tokenise(text)) > MAX_TRAINING_WORDS for record in data.records for text in record.captions
        )
        subject = f"{counted(long_captions, 'caption')} {'has' if long_captions == 1 else 'have'}"
        sentences.append(f"{subject} more than {MAX_TRAINING_WORDS} words: the rest of each is not learned.")
    if len(report.languages) > 1:
        codes = ", ".join(f"{code} {share:.0%}" for code, share in report.languages)
        sentences.append(f"The captions seem to be in several languages ({codes}): the captioner will mix them.")
    if sentence := lost_captions(report.problems):
        sentences.append(sentence)
    doubtful = sum(problem.kind == "doubtful_caption" for problem in report.problems)
    if doubtful:
        subject = f"{counted(doubtful, 'caption')} {'looks' if doubtful == 1 else 'look'} wrong and will be learned"
        sentences.append(f"{subject} (web addresses, file names, lost characters): correct or remove them.")
    if report.total.captions < 2 * report.total.images:
        sentences.append("Most photos have one caption: training works better with several captions per photo.")
    return True, tuple(sentences)


def _count_photos(groups) -> str:
    return counted(sum(len(group.paths) for group in groups), "photo")
