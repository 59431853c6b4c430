"""Captions are cleaned of markup and encoding errors, placeholders are left out and counted, the rest is unchanged."""

import json
import time

import pytest

from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.readers import listing
from training.data.readers.caption_text import doubt_about, is_placeholder, plain_caption, read_caption
from training.data.records import read_records


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom &amp; Jerry&#39;s &quot;dog&quot; <br> sleeps", 'Tom & Jerry\'s "dog" sleeps'),
        ("<p class='x'>A dog</p><p>runs on the <b>beach</b></p>", "A dog runs on the beach"),
        ("&lt;i&gt;dog&lt;/i&gt; <!-- checked -->", "dog"),
        ("rock &amp;amp; roll &amp night", "rock & roll & night"),
        ("a&nbsp;dog &#x2665; cats", "a dog ♥ cats"),
        ("AT&amp;T and 1 &lt; 2", "AT&T and 1 < 2"),
        ('<a href="https://example.org">a dog</a>', "a dog"),
        ("<script>alert('dog')</script>a cat", "a cat"),
        ("a dog\\non the beach", "a dog on the beach"),
        ("a caf\\u00e9 \\ud83d\\ude00", "a café 😀"),
        ("\ufeffa d\u200bog", "a dog"),
        ("a cafÃ© at night", "a café at night"),
        ("Ð¡Ð¾Ð±Ð°ÐºÐ°", "Собака"),
        ("<start> a dog <end> <pad> <pad>", "a dog"),
        ("startseq a dog endseq", "a dog"),
    ],
)
def test_markup_and_encoding_errors_are_undone(text, expected):
    caption = read_caption(text)
    assert caption.text == expected and caption.removed_traces
    assert read_caption(expected).text == expected and not read_caption(expected).removed_traces


@pytest.mark.parametrize(
    "text",
    [
        "AT&T", "a < b", "i <3 you", "a </3 b", "a <b and c> d", "John <john@example.org>", "5 > 3 & 2 <4", "Q&A; more",
        "fish &chips", "&notable; things", "a <- b -> c", "café", "à côté", "A SIGN SAYS CAFÉ’S", "MANHÃ", "\\o/",
        "C:\\new\\Users", "👩‍👩‍👧 at home", "می‌خواهم", "a <unk> b", "the start and the end", "R&D <beta", "狗", "a  b",
    ],
)  # fmt: skip
def test_text_that_may_be_intended_is_unchanged(text):
    assert read_caption(text) == read_caption(text).__class__(text)


@pytest.mark.parametrize(
    "value",
    [
        None, float("nan"), "nan", "NaN", " None ", "null", "N/A", "n/a", "<NA>", "NA", "#N/A", "\\N", "undefined",
        '"nan"', "No caption", "[no caption available]", "TODO", "img 1.jpg", "quality issues are too severe to"
        " recognize visual content.",
    ],
)  # fmt: skip
def test_a_placeholder_is_no_caption(value):
    assert is_placeholder(value, ("images/img 1.jpg",))


@pytest.mark.parametrize("value", ["none of the dogs run", "img", "todo", "naan", "a null", "nanny", 3, 1.5, ["nan"]])
def test_text_similar_to_a_placeholder_is_kept(value):
    assert not is_placeholder(value, ("images/img", "img 1.jpg"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("see https://example.org/x", "web address"),
        ("a caf� at night", "save its source as UTF-8"),
        ("IMG_20190817.JPG", "name of a file"),
        ("DSC01234", "name of a file"),
        ("a dog on the beach", None),
        ("photo of 3 dogs", None),
    ],
)
def test_doubtful_captions_are_reported(text, reason):
    assert doubt_about(text) is None if reason is None else reason in doubt_about(text)


@pytest.mark.parametrize(
    "text",
    [
        "<" * 50_000, "<end> " * 20_000 + "x", "&#" * 30_000, "<b a=" * 20_000, " " * 60_000,
        "-->" + "<!--" * 20_000, "<script>" * 15_000, "<style><script>" * 8_000,
    ],
)  # fmt: skip
def test_hostile_text_is_read_quickly(text):
    before = time.process_time()
    read_caption(text), doubt_about(text), is_placeholder(text)
    assert time.process_time() - before < 5


def test_every_rejected_or_cleaned_caption_is_counted_with_its_position(tmp_path):
    captions = ["a dog", "nan", "", "<br>", "Tom &amp; Jerry", "<p>n/a</p>", "see www.example.org", None]
    rows = [{"image": f"{number}.jpg", "caption": text} for number, text in enumerate(captions)]
    rows.append({"image": "0.jpg", "caption": [float("nan"), "a brown dog"]})
    for number in range(len(captions)):
        photo(tmp_path / f"{number}.jpg")
    write(tmp_path / "captions.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    data = read_records(tmp_path)
    used = {name: record.captions for name, record in by_name(data).items()}
    assert used == {"0.jpg": ("a dog", "a brown dog"), "4.jpg": ("Tom & Jerry",), "6.jpg": ("see www.example.org",)}
    assert positions(data, "no_caption") == [f"captions.jsonl:{line}" for line in (2, 6, 8, 9)]
    assert positions(data, "empty_caption") == ["captions.jsonl:3", "captions.jsonl:4"]
    assert positions(data, "cleaned_caption") == ["captions.jsonl:5"]
    assert positions(data, "doubtful_caption") == ["captions.jsonl:7"]
    assert sum(problem.lost for problem in data.problems) == 6


@pytest.mark.parametrize(
    "text",
    [
        "A man rides a horse.",
        " two dogs, one cat ",
        '"Hello" says a man!',
        "a dog's ball",
        "(a well-known bridge)",
        "Seq",
    ],
)
def test_plain_captions_need_no_further_checks(text):
    assert plain_caption(text) == text.strip() == read_caption(text).text
    assert not read_caption(text).removed_traces and not is_placeholder(text) and not doubt_about(text)


@pytest.mark.parametrize(
    "text",
    ["", "...", "(null)", "None.", "no caption", "no  caption", "TODO", "a.jpg", "IMG 1234", "www.a.b", "a &amp; b"]
    + [
        "a <b>dog</b>",
        "startseq a dog endseq",
        "StartSeq a dog",
        "a dog endseq",
        "a dog ENDSEQ.",
        "a\\nb",
        "café",
        "a: b",
    ]
    + [None, float("nan"), 3, "\x00", "Quality issues are too severe to recognize visual content."],
)
def test_captions_with_special_characters_are_not_plain(text):
    assert plain_caption(text) is None


def test_plain_captions_of_coco_take_the_fast_path(tmp_path, monkeypatch):
    """With a million captions, the full check of each took longer than everything else."""
    checked_texts = []
    monkeypatch.setattr(listing, "is_placeholder", lambda text, names: checked_texts.append(text))
    photo(tmp_path / "val2017/7.jpg")
    texts = ["A dog runs.", "A dog, a ball", "nan &amp; co"]
    annotations = [{"id": number, "image_id": 7, "caption": text} for number, text in enumerate(texts)]
    content = {"images": [{"id": 7, "file_name": "7.jpg"}], "annotations": annotations}
    write(tmp_path / "annotations/captions_val2017.json", json.dumps(content))
    (record,) = read_records(tmp_path).records
    assert record.captions == ("A dog runs.", "A dog, a ball", "nan & co")
    assert set(checked_texts) == {"nan &amp; co", "nan & co"}
