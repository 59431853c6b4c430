"""The report of a data set: numbers checked by hand on a few drawn photos."""

import dataclasses
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from training.data.records import ImageRecord, Problem, read_records
from training.inspection.languages import languages
from training.inspection.report import HEADINGS, inspect_data, render


@pytest.fixture
def folder(tmp_path):
    """Three train photos (one twice), a val photo that copies a train photo, a damaged one, a Chinese caption."""
    colours = {"train/a": "red", "train/b": "red", "train/c": "blue", "val/a": "blue", "val/d": "green"}
    for name, colour in colours.items():
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 48), colour).save(path)
    damaged = tmp_path / "train" / "damaged.png"
    damaged.write_bytes((tmp_path / "val" / "d.png").read_bytes()[:60])
    captions = {
        "train/a": "a dog\nA dog runs!\n",
        "train/b": "a dog\n",
        "train/c": "the sea is blue blue blue blue blue\n",
        "train/damaged": "a dog\n",
        "val/a": "狗\n",
        "val/d": "a green wall\n?\n",
    }
    for name, text in captions.items():
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "val" / "ghost.txt").write_text("nobody\n")
    return tmp_path


@pytest.fixture
def report(folder):
    return inspect_data(read_records(folder), progress=False)


def test_images_and_captions_of_each_split_are_counted(report):
    counts = {count.split: count for count in report.splits}
    assert list(counts) == ["train", "val"]
    assert (counts["train"].images, counts["train"].captions) == (4, 5)
    assert (counts["val"].images, counts["val"].captions) == (2, 2)
    assert (report.total.images, report.total.captions) == (6, 7)
    spread = report.total.captions_per_image
    assert (spread.min, spread.max) == (1, 2) and spread.mean == pytest.approx(7 / 6)


def test_word_statistics_are_computed(report):
    words = report.words
    # a dog / A dog runs! / a dog / the sea is blue x5 / a dog / 狗 / a green wall
    assert (words.per_caption.min, words.per_caption.max, words.per_caption.percentile_95) == (1, 8, 8)
    assert words.per_caption.mean == pytest.approx((2 + 3 + 2 + 8 + 2 + 1 + 3) / 7)
    assert words.vocabulary == 10
    assert words.frequent == 2
    assert words.most_frequent[:3] == (("a", 5), ("blue", 5), ("dog", 4))
    scripts = dict(words.scripts)
    assert set(scripts) == {"Latin", "Han"} and sum(scripts.values()) == pytest.approx(1)
    assert scripts["Han"] == pytest.approx(1 / 59)


def test_duplicate_images_and_leaks_are_reported(report):
    leaks = {frozenset(group.paths): group.leak for group in report.same_images}
    assert leaks == {
        frozenset({"train/a.png", "train/b.png"}): False,
        frozenset({"train/c.png", "val/a.png"}): True,
    }
    assert [set(leak.paths) for leak in report.leaks] == [{"train/c.png", "val/a.png"}]


def test_a_photo_left_out_of_all_splits_is_no_leak(folder):
    (folder / "x.png").write_bytes((folder / "val" / "d.png").read_bytes())
    (folder / "x.txt").write_text("outside of all splits\n")
    report = inspect_data(read_records(folder), progress=False)
    assert [set(leak.paths) for leak in report.leaks] == [{"train/c.png", "val/a.png"}]
    assert report.splits[-1].split is None and "left out by the data set's splits" in render(report)


def test_repeated_captions_are_reported(report):
    assert [(caption.text, caption.count, caption.images) for caption in report.repeated_captions] == [("a dog", 3, 3)]


def test_a_caption_repeated_for_one_image_is_reported(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    sentences = [{"raw": "a dog", "sentid": number} for number in range(2)]
    images = [{"filename": "a.png", "split": "train", "sentences": sentences}]
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": images}))
    report = inspect_data(read_records(tmp_path), progress=False)
    assert [(caption.count, caption.images) for caption in report.repeated_captions] == [(2, 1)]


def test_unreadable_photos_are_named(report):
    unreadable = [problem for problem in report.problems if problem.kind == "unreadable_image"]
    assert [problem.file for problem in unreadable] == ["train/damaged.png"]


def test_truncated_photos_are_used_and_named(folder):
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    path = folder / "train" / "a.png"
    Image.fromarray(pixels).save(path, "PPM")
    path.write_bytes(path.read_bytes()[: 64 * 37 * 3])  # its header, 36 rows, and a part of one
    report = inspect_data(read_records(folder), progress=False)
    (problem,) = [problem for problem in report.problems if problem.kind == "cut_short_image"]
    assert problem.file == "train/a.png" and "about 25 % of the photo, at its bottom, is missing" in problem.message
    assert report.total.images == 6 and HEADINGS["cut_short_image"][1:] in render(report)


def test_without_opening_photos_only_paths_are_compared(folder):
    report = inspect_data(read_records(folder), open_photos=False, progress=False)
    assert not report.same_images
    assert all(problem.kind != "unreadable_image" for problem in report.problems)
    assert "not opened" in render(report)


def test_one_path_in_two_splits_is_a_leak_without_opening_it(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    images = [
        {"filename": "a.png", "split": split, "sentences": [{"raw": f"for {split}"}]} for split in ("train", "test")
    ]
    (tmp_path / "dataset_x.json").write_text(json.dumps({"images": images}))
    report = inspect_data(read_records(tmp_path), open_photos=False, progress=False)
    assert [leak.splits for leak in report.leaks] == [("train", "test")]


def test_json_holds_the_whole_report(report):
    values = json.loads(json.dumps(report.to_json()))
    assert len(values["problems"]) == len(report.problems)
    assert values["problem_counts"] == {"empty_caption": 1, "stray_sidecar": 1, "unreadable_image": 1}
    assert values["leaks"][0]["splits"] == ["train", "val"]


def test_the_text_gives_a_position_for_every_kind_of_problem(report):
    text = render(report)
    for expected in ("val/d.txt:2", "val/ghost.txt", "train/damaged.png", "train/c.png (train) = val/a.png (val)"):
        assert expected in text
    assert "Latin 98.3 %, Han 1.7 %" in text
    assert max(len(line) for line in text.splitlines()) <= 202


def test_the_text_shows_a_few_problems_and_counts_the_rest(folder):
    for number in range(50):
        (folder / "train" / f"stray{number:02}.txt").write_text("nobody\n")
    text = render(inspect_data(read_records(folder), open_photos=False, progress=False), examples=2)
    assert "Stray sidecars: 51\n  train/stray00.txt" in text and "… and 49 more" in text
    assert "stray02" not in text


def test_every_kind_of_problem_has_a_heading(report):
    assert {problem.kind for problem in report.problems} <= set(HEADINGS)


def test_every_kind_that_a_reader_reports_has_a_heading_which_the_page_takes_from_the_report():
    root = Path(__file__).parents[3]
    readers = "".join(file.read_text() for file in (root / "training" / "data" / "readers").glob("*.py"))
    reported = set(re.findall(r'add_problem\(\s*"([a-z_]+)"', readers))
    assert len(reported) > 10 and reported <= set(HEADINGS)
    page = (root / "service" / "web" / "static" / "report.js").read_text()
    assert "headings[name]" in page and not [heading for heading in HEADINGS.values() if heading in page]


def test_json_carries_the_headings_of_what_it_has_in_the_order_of_the_text(report):
    odd = dataclasses.replace(report, problems=(Problem("odd_thing", "a.txt", 3, "is odd"), *report.problems))
    values, text = odd.to_json(), render(odd)
    assert values["headings"]["leaks"] == "images in two splits" and values["headings"]["odd_thing"] == "odd thing"
    names = {name for name, count in {**values["counts"], **values["problem_counts"]}.items() if count}
    assert set(values["headings"]) == names
    headings = [f"\n{heading[0].upper()}{heading[1:]}: " for heading in values["headings"].values()]
    offsets = [text.index(heading) for heading in headings]
    assert offsets == sorted(offsets)


def test_a_kind_without_a_heading_is_shown_by_its_own_name(report):
    odd = dataclasses.replace(report, problems=(Problem("odd_thing", "a.txt", 3, "is odd"),))
    assert "Odd thing: 1\n  a.txt:3: is odd" in render(odd)


def test_unusable_data_is_reported_as_such(tmp_path):
    (tmp_path / "captions.csv").write_text("image,caption\ngone.jpg,lost\n")
    text = render(inspect_data(read_records(tmp_path), progress=False))
    assert "Nothing here can be used." in text and "captions.csv:2" in text


def test_a_file_name_that_is_not_utf8_can_be_printed(tmp_path):
    for name in (b"\xe9.png", b"e.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
        (tmp_path / "photo.png").rename(tmp_path / os.fsdecode(name))
        (tmp_path / os.fsdecode(name)).with_suffix(".txt").write_text("a dog\n")
    text = render(inspect_data(read_records(tmp_path), progress=False))
    assert "\\udce9.png" in text.encode().decode()


def test_photos_that_look_alike_are_reported_though_their_bytes_differ(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(3):
        noise = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        photo = Image.fromarray(noise).resize((200, 150), Image.Resampling.BICUBIC)
        photo.save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("a carpet\n")
    photo.save(tmp_path / "again.jpg", quality=70)
    (tmp_path / "again.txt").write_text("a carpet\n")
    photo.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "turned.png")
    (tmp_path / "turned.txt").write_text("a carpet\n")
    report = inspect_data(read_records(tmp_path), progress=False)
    assert [set(group.paths) for group in report.similar_images] == [{"2.png", "again.jpg"}]
    assert not report.same_images
    assert "Images that look alike: 1\n" in render(report)


def test_plain_photos_of_two_colours_do_not_look_alike(report):
    """Their coarse shapes are equal: both have none."""
    assert not report.similar_images


@pytest.mark.parametrize(
    ("code", "captions"),
    [
        ("en", ("two dogs run over the grass", "a brown dog jumps after a ball")),
        ("de", ("zwei Hunde laufen über die Wiese", "ein Hund springt nach einem Ball")),
        ("ug", ("ئىككى ئىت ئوتلاق ئۈستىدە يۈگۈرمەكتە", "بىر بالا سۇ ئىچىدە ئوينىغان")),
        ("zh", ("两只狗在草地上跑", "一个孩子在水里玩")),
    ],
)
def test_languages_are_detected(code, captions):
    records = [ImageRecord(number, Path(f"{number}.jpg"), captions, "train") for number in range(3)]
    assert languages(records) == ((code, 1.0),)


@pytest.mark.parametrize(
    "captions",
    [("a dog",), ("a green wall",), ("1girl, solo, long hair",), ("red car", "blue sky"), ("狗",), ("IMG 0001",)],
)
def test_too_little_text_has_no_language(captions):
    records = [ImageRecord(number, Path(f"{number}.jpg"), (text,), "train") for number, text in enumerate(captions)]
    assert languages(records) == ()


def test_a_few_short_captions_do_not_add_wrong_languages():
    texts = ["a boat on a lake", "a green wall", "red car", "two dogs run over the grass", "a cat lies on a brown rug"]
    records = [ImageRecord(number, Path(f"{number}.jpg"), (text,), "train") for number, text in enumerate(texts)]
    assert languages(records) == (("en", 1.0),)


def test_rare_words_are_counted_with_the_default_of_fit(report, folder):
    # of the train split: a dog / A dog runs! / a dog / the sea is blue x5 / a dog
    assert (report.rare_words.min_count, report.rare_words.words, report.rare_words.kept) == (1, 0, 7)
    assert "7 words in the training captions, none of them unknown with --min-count 1" in render(report)
    (folder / "train" / "a.txt").write_text("\n".join(f"a dog is number {number} again" for number in range(4000)))
    vocabulary = Vocabulary([*SPECIAL_WORDS, "17"])
    rare = inspect_data(read_records(folder), open_photos=False, progress=False, vocabulary=vocabulary).rare_words
    assert rare.min_count == 2 and 3990 < rare.words < 4010 and rare.share == pytest.approx(1 / 6, abs=0.01)


def test_words_unknown_to_a_captioner_are_reported(report, folder):
    vocabulary = Vocabulary([*SPECIAL_WORDS, "a", "dog", "the", "is", "wall", "green"])
    unknown = inspect_data(read_records(folder), progress=False, vocabulary=vocabulary).unknown_words
    assert report.unknown_words is None
    # a dog / A dog runs! / the sea is blue x5 / 狗
    assert unknown.most_frequent == (("blue", 5), ("runs", 1), ("sea", 1), ("狗", 1))
    assert unknown.words == 4 and unknown.share == pytest.approx(8 / 21)


def test_hidden_files_of_operating_systems_are_counted(folder):
    for name in ("train/.DS_Store", "val/.DS_Store", "__MACOSX/train/._a.png", "train/._a.png", "train/._b.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    problems = inspect_data(read_records(folder), progress=False).problems
    ignored = {problem.file: problem.message for problem in problems if problem.kind == "ignored_file"}
    assert ignored == {
        ".DS_Store": "skipped, 2 in all",
        "._*": "skipped, 2 in all",
        "__MACOSX": "skipped, 1 in all",
    }


def test_json_can_be_shortened(folder):
    for number in range(50):
        (folder / "train" / f"stray{number:02}.txt").write_text("nobody\n")
    report = inspect_data(read_records(folder), progress=False)
    values = report.to_json(max_entries=3)
    assert values["problem_counts"]["stray_sidecar"] == 51
    assert [problem["kind"] for problem in values["problems"]].count("stray_sidecar") == 3
    assert {problem["kind"] for problem in values["problems"]} == set(values["problem_counts"])
    assert values["counts"] == {"leaks": 1, "same_images": 2, "similar_images": 0, "repeated_captions": 1}
