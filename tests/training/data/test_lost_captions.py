"""`fit` reports how many captions are not used and why (training/data/lost_captions.py)."""

from tests.support.tiny_data_sets import photo, write
from training.data.lost_captions import lost_captions, problems_summary
from training.data.records import Problem, read_records


def test_lost_captions_are_counted_by_kind_and_other_problems_are_not():
    problems = [
        Problem("missing_image", "captions.csv", 2, "a.jpg is not there", lost=5),
        *(Problem("no_caption", "captions.csv", line, "nan", lost=1) for line in (3, 4)),
        Problem("unused_file", "notes.pdf", None, "is not used"),
    ]
    assert lost_captions(problems) == (
        "7 captions not used: 5 of photos that are missing, 2 replaced by a placeholder (nan, None, n/a, ...)."
    )
    assert lost_captions(problems[2:3]) == "1 caption not used: 1 replaced by a placeholder (nan, None, n/a, ...)."
    assert lost_captions(problems[3:]) is None


def test_every_caption_of_the_data_is_used_or_lost(tmp_path):
    texts = ["a dog", "nan", "", "a cat", "a cat"]
    for number in range(3):
        photo(tmp_path / f"{number}.jpg")
    rows = [f"{number}.jpg,{text}" for number in (0, 1, 2, 9) for text in texts]
    write(tmp_path / "captions.csv", "\n".join(["image,caption", *rows]) + "\n")
    data = read_records(tmp_path)
    used = sum(len(record.captions) for record in data.records)
    assert used + sum(problem.lost for problem in data.problems) == len(rows)
    summary = problems_summary(data)
    assert summary.startswith(f"{len(rows) - used} captions not used: ")
    assert f"{len(data.problems)} problems in {tmp_path}: `python -m training inspect` lists them" in summary
