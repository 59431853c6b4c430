"""Parallel text is read in the forms that the field uses, and what does not fit is said."""

import gzip
import json

import pytest

from captioner.errors import DataError
from training.translation.parallel_text import MAX_WORDS, read_parallel

ENGLISH = [f"Dog number {number} runs." for number in range(40)]
GERMAN = [f"Hund Nummer {number} läuft." for number in range(40)]
PAIRS = tuple(zip(ENGLISH, GERMAN, strict=True))


def lines(path, texts, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(f"{text}\n" for text in texts).encode(encoding)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def two_files(folder, split="train", texts=(ENGLISH, GERMAN), ending=""):
    for language, of_language in zip(("en", "de"), texts, strict=True):
        lines(folder / f"{split}.{language}{ending}", of_language)


@pytest.mark.parametrize("ending", ["", ".gz", ".txt", ".txt.gz"])
def test_two_files_of_lines(tmp_path, ending):
    two_files(tmp_path, ending=ending)
    two_files(tmp_path, "val", (ENGLISH[:3], GERMAN[:3]), ending)
    two_files(tmp_path, "test_2016_flickr", (ENGLISH[:2], GERMAN[:2]), ending)
    (tmp_path / "train.fr").write_text("another language\n")
    text = read_parallel(tmp_path, "en", "de")
    assert text.splits == {"train": PAIRS, "val": PAIRS[:3], "test_2016_flickr": PAIRS[:2]}
    assert read_parallel(tmp_path, "de", "en").split("val") == tuple(pair[::-1] for pair in PAIRS[:3])


def test_utf_16(tmp_path):
    two_files(tmp_path, "val", (ENGLISH[:3], GERMAN[:3]))
    lines(tmp_path / "train.en", ENGLISH, "utf-16")
    lines(tmp_path / "train.de", GERMAN, "utf-16")
    assert read_parallel(tmp_path, "en", "de").split("train") == PAIRS


def as_tsv(pairs, header="en\tde"):
    return "\n".join([header, *("\t".join(pair) for pair in pairs)]) + "\n"


def as_jsonl(pairs):
    return "".join(json.dumps({"de": german, "en": english}) + "\n" for english, german in pairs)


def as_hugging_face(pairs):
    return "".join(json.dumps({"translation": {"en": english, "de": german}}) + "\n" for english, german in pairs)


def as_csv(pairs):
    return "id,DE,EN\n" + "".join(f'1,"{german}","{english}"\n' for english, german in pairs)


def as_tmx(pairs):
    units = "".join(
        f'<tu><tuv xml:lang="en-GB"><seg>{english}</seg></tuv><tuv xml:lang="DE"><seg>{german}</seg></tuv></tu>'
        for english, german in pairs
    )
    return f'<?xml version="1.0"?><tmx version="1.4"><header/><body>{units}</body></tmx>'


FORMS = [
    ("train.tsv", as_tsv), ("train.jsonl", as_jsonl), ("train.jsonl", as_hugging_face), ("train.csv", as_csv),
    ("train.tmx", as_tmx), ("train.tsv", lambda pairs: as_tsv(pairs[1:], "\t".join(pairs[0]))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_one_file_of_pairs(tmp_path, name, form):
    (tmp_path / name).write_text(form(PAIRS))
    (tmp_path / name.replace("train", "val")).write_text(form(PAIRS[:2]))
    assert read_parallel(tmp_path, "en", "de").splits == {"train": PAIRS, "val": PAIRS[:2]}


def as_tmx_of(source, target):
    return lambda pairs: as_tmx(pairs).replace("en-GB", source).replace("DE", target)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("train.tsv", lambda pairs: as_tsv([pair[::-1] for pair in pairs], "pt-BR\tEN")),
        ("train.tsv", lambda pairs: as_tsv([("1", *pair) for pair in pairs], "id\ten\tPT_br")),
        ("train.jsonl", lambda pairs: as_jsonl(pairs).replace('"de"', '"pt-br"').replace('"en"', '"EN"')),
        ("train.tmx", as_tmx_of("EN", "pt_BR")),
        ("train.tmx", as_tmx_of("en-US", "pt-br")),
    ],
)
@pytest.mark.parametrize(("source", "target"), [("en", "pt-BR"), ("EN", "PT_br")])
def test_languages_are_found_in_any_case(tmp_path, name, form, source, target):
    (tmp_path / name).write_text(form(PAIRS))
    (tmp_path / name.replace("train", "val")).write_text(form(PAIRS[:2]))
    assert read_parallel(tmp_path, source, target).splits == {"train": PAIRS, "val": PAIRS[:2]}


def test_file_endings_are_languages_in_any_case(tmp_path):
    for split, count in (("train", 40), ("val", 3)):
        lines(tmp_path / f"{split}.EN", ENGLISH[:count])
        lines(tmp_path / f"{split}.pt_br.txt", GERMAN[:count])
    assert read_parallel(tmp_path, "en", "pt-BR").splits == {"train": PAIRS, "val": PAIRS[:3]}


def test_a_tmx_file_of_another_region_holds_no_pair(tmp_path):
    (tmp_path / "train.tmx").write_text(as_tmx_of("en-US", "pt-PT")(PAIRS))
    assert len(read_parallel(tmp_path, "en", "pt").split("train")) > 30
    with pytest.raises(DataError, match="holds no pair of en and pt-BR"):
        read_parallel(tmp_path, "en", "pt-BR")


def test_part_of_the_pairs_is_kept_for_validation_if_no_file_is(tmp_path):
    (tmp_path / "pairs.tsv").write_text(as_tsv(PAIRS * 3))
    text = read_parallel(tmp_path / "pairs.tsv", "en", "de")
    train, val = set(text.split("train")), set(text.split("val"))
    assert val and train.isdisjoint(val) and train | val == set(PAIRS)
    assert read_parallel(tmp_path / "pairs.tsv", "en", "de") == text  # the same ones each time


def test_empty_and_very_long_sentences_are_left_out_and_counted(tmp_path):
    texts = [*ENGLISH, "", "\x07 \x01", "word " * (MAX_WORDS + 1)], [*GERMAN, "leer", "leer", "lang"]
    two_files(tmp_path, texts=texts)
    two_files(tmp_path, "val")
    text = read_parallel(tmp_path, "en", "de")
    assert text.split("train") == PAIRS
    assert text.notes == (
        "left out: 2 x pair with an empty side",
        "left out: 1 x pair with more than 200 words on a side",
    )


ODD_LINES = {
    "train.en": b"A dog.\n" * 30 + b"A caf\xe9.\n",
    "train.de": b"Ein Hund.\n" * 30 + "Ein Café.\n".encode(),
    "val.jsonl": b'{"en": "A dog.", "de": "Ein Hund."}\n{"en": "A \\ud800 dog.", "de": "Ein Hund."}\n',
    "test_nul.tsv": b"en\tde\nA dog.\tEin Hund.\nA dog.\tEin H\0nd.\n",
}


def test_pairs_that_are_no_valid_text_are_left_out_and_counted(tmp_path):
    for name, content in ODD_LINES.items():
        (tmp_path / name).write_bytes(content)
    text = read_parallel(tmp_path, "en", "de")
    assert {split: set(pairs) for split, pairs in text.splits.items()} == {
        split: {("A dog.", "Ein Hund.")} for split in ("train", "val", "test_nul")
    }
    assert text.notes == ("left out: 3 x pair with a side that is not valid Unicode text: save the file as UTF-8",)
    assert len(text.sha256("train")) == 64


def test_one_invalid_byte_does_not_keep_pairs_from_being_divided(tmp_path):
    (tmp_path / "train.tsv").write_bytes(as_tsv(PAIRS).encode() + b"A caf\xe9.\tEin Caf\xe9.\n")
    text = read_parallel(tmp_path, "en", "de")
    assert len(text.split("train")) + len(text.split("val")) == len(PAIRS)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train.en": "a\nb\n", "train.de": "a\n"}, "2 lines and train.de has 1"),
        ({"train.en": "a\n"}, "holds no parallel text of en and de"),
        ({"photo.txt": "a\n"}, "holds no parallel text of en and de"),
        ({"a/train.en": "a\n", "a/train.de": "a\n", "b/train.tsv": "en\tde\na\tb\n"}, "both hold the split 'train'"),
        ({"train.tsv": "en\tfr\tcs\na\tb\tc\n"}, "has the columns en, fr, cs: it needs en and de"),
        ({"train.tsv": "en\tfr\na\tb\n"}, "has the columns en, fr: it needs en and de"),
        ({"train.tsv": "fr\tDE\na\tb\n"}, "has the columns fr, DE: it needs en and de"),
        ({"train.tsv": "en\tde\na\tb\nc\n"}, "line 3 has 1 column"),
        ({"train.jsonl": '{"en": "a", "de": "b"}\n{"en": "a"}\n'}, "line 2 is not of the form"),
        ({"train.jsonl": "{\n"}, "line 1 is not of the form"),
        ({"train.jsonl": '{"en": "a", "de": 3}\n'}, "must be texts"),
        ({"train.tmx": "<tmx><body><tu>"}, "cannot be read as TMX"),
        ({"train.tmx": as_tmx([]), "val.tsv": as_tsv(PAIRS)}, "holds no pair of en and de"),
        ({"train.tsv": as_tsv(PAIRS[:1])}, "too few to keep some for validation"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_parallel(tmp_path, "en", "de")


@pytest.mark.parametrize("rest", [3, 5000])
@pytest.mark.parametrize("row", ['"A dog,Ein Hund.', 'A dog,"Ein Hund.'])
def test_an_open_quote_is_an_error_with_its_line(tmp_path, row, rest):
    """With many rows after it, the csv module refuses the cell; with a few, it reads them as one."""
    first = 'en,de\n"A dog\nruns.","Ein ""Hund"" läuft."\n\n'
    (tmp_path / "train.csv").write_text(first + row + "\n" + "A cat sleeps there.,Eine Katze.\n" * rest)
    with pytest.raises(DataError, match="line 5 begins a row with a quote that is not closed"):
        read_parallel(tmp_path, "en", "de")


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_quoted_sentences_may_hold_line_breaks_and_blank_rows_do_not_count(tmp_path, end):
    (tmp_path / "train.csv").write_text("en,de\n" + "A dog,Ein Hund\n\n" * 40 + '"A\ndog","Ein ""Hund"""' + end)
    (tmp_path / "val.csv").write_text("en,de\nA dog,Ein Hund")
    assert read_parallel(tmp_path, "en", "de").split("train")[-1] == ("A\ndog", 'Ein "Hund"')


def test_a_missing_path_and_one_language_are_refused(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_parallel(tmp_path / "nothing", "en", "de")
    for target in ("en", "EN"):
        with pytest.raises(DataError, match="name two languages"):
            read_parallel(tmp_path, "en", target)


def test_entities_of_a_tmx_file_are_not_expanded(tmp_path):
    (tmp_path / "secret").write_text("secret text")
    document = as_tmx([("&x;", "Hund"), *PAIRS]).replace(
        '<?xml version="1.0"?>',
        f'<?xml version="1.0"?><!DOCTYPE tmx [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>',
    )
    (tmp_path / "train.tmx").write_text(document)
    text = read_parallel(tmp_path / "train.tmx", "en", "de")
    assert not any("secret" in side for pairs in text.splits.values() for pair in pairs for side in pair)


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    two_files(tmp_path)
    two_files(tmp_path, "val")
    with pytest.raises(DataError, match="has train, val"):
        read_parallel(tmp_path, "en", "de").split("test")
