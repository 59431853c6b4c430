"""Text files give one sentence per line, and other lines are left out and counted."""

import gzip
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from captioner.errors import DataError
from captioner.text.vocabulary import tokenise
from training.data.readers.sentence_files import MAX_SENTENCE_WORDS, read_sentences
from training.data.readers.text_lines import MAX_LINE
from training.options import MAX_TRAINING_WORDS


@pytest.fixture
def read(tmp_path):
    """Return a function that reads one file of this content."""

    def read(content, name="mine.txt"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_sentences([file])

    return read


def sentences_of(texts):
    pairs = zip(texts.starts, texts.starts[1:], strict=False)
    return [" ".join(texts.words[number] for number in texts.numbers[start:end]) for start, end in pairs]


def test_each_line_is_a_sentence_tokenised_like_captions(read):
    lines = [
        "A dog's ball, on the GRASS.",
        "l'homme à vélo",
        "two t-shirts\u2019s 3",
        "狗在 草地上",
        "ΟΔΟΣ ΣΑΣ",
        "a\tb\u00a0c",
    ]
    texts = read("\n".join(lines))
    assert sentences_of(texts) == [" ".join(tokenise(line)) for line in lines]
    assert len(texts) == 6 and texts.files == ("mine.txt",) and not texts.left_out
    assert texts.counts() == Counter(word for line in lines for word in tokenise(line))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_common_encodings_and_line_ends_are_read(read, encoding, end):
    content = f"a dog{end}ein Löwe{end}".encode(encoding)
    assert sentences_of(read(content)) == ["a dog", "ein löwe"]
    assert sentences_of(read(gzip.compress(content), "mine.TXT.GZ")) == ["a dog", "ein löwe"]


def test_gzip_is_recognised_by_its_content(read):
    assert sentences_of(read(gzip.compress(b"a dog"), "packed.txt")) == ["a dog"]
    assert sentences_of(read(b"a dog", "plain.txt.gz")) == ["a dog"]


def test_lines_that_are_no_sentences_are_left_out_and_counted(read, tmp_path):
    long = "word " * 10_000
    texts = read(b"a dog\n\n  \nein L\xf6we\n...\n" + long.encode() + b"\na cat\n\nzero\0byte\na red ball\n")
    assert sentences_of(texts) == ["a dog", "a cat", "a red ball"]
    (sentence,) = texts.left_out
    assert sentence == (
        f"left out of {tmp_path / 'mine.txt'}: 3 empty lines; 1 line without a word (the first is line 5); 2 lines that"
        " are not UTF-8 text (the first is line 4): save the file as UTF-8; 1 line of more than 100 words (the first is"
        " line 6): write one sentence on each line"
    )
    assert texts.lines() == [sentence, "sentences without photos: 3 of mine.txt"]


def test_a_long_sentence_is_cut_at_the_training_limit(read):
    words = [f"w{number}" for number in range(MAX_SENTENCE_WORDS)]
    texts = read("\n".join([" ".join(words), " ".join(words[:MAX_TRAINING_WORDS])]))
    assert np.diff(texts.starts).tolist() == [MAX_TRAINING_WORDS + 1, MAX_TRAINING_WORDS]
    assert not texts.left_out


def test_a_line_beyond_the_buffer_is_one_line(read):
    texts = read("a dog\n" + "x y " * MAX_LINE + "\n" + "z" * 3 * MAX_LINE + "\na cat")
    assert sentences_of(texts) == ["a dog", "a cat"]
    assert "2 lines of more than 100 words (the first is line 2)" in texts.left_out[0]


def test_many_lines_take_little_memory(tmp_path):
    """70 bytes per line of ten words, so 70 MB per million lines; lists of words would take a gigabyte."""
    file, lines = tmp_path / "many.txt.gz", 100_000
    with gzip.open(file, "wt", compresslevel=1) as stream:
        for number in range(100):
            stream.write(f"a dog runs after ball number {number} on the grass\n" * (lines // 100))
    tracemalloc.start()
    try:
        texts = read_sentences([file])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(texts) == lines and texts.counts()["dog"] == lines
    assert peak < 150 * lines


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt holds no sentence: write one on each line"),
        ("a.txt", b"\n \n...\n", "holds no sentence"),
        ("a.txt", "der Löwe\nein Löwe\na dog".encode("latin-1"), "is not UTF-8 text: 2 lines of it .* and 1 line can"),
        ("a.txt", bytes(range(255, 0, -1)) * 40, "is not UTF-8 text"),
        ("a.txt", b"\x89PNG\r\n\x1a\n", "is a PNG picture"),
        ("a.txt", b"PK\x03\x04", "is a spreadsheet, a document or an archive"),
        ("a.txt", gzip.compress(b"PAR1", mtime=0), "is a Parquet table"),
        ("a.txt.gz", gzip.compress(b"a dog\n" * 999, mtime=0)[:-9], "is damaged or cut short .*fetch or pack it again"),
        ("a.txt.gz", gzip.compress(b"a dog\n" * 999, mtime=0)[:20] + b"\0" * 50, "is damaged or cut short"),
        ("captions.csv", b"a dog", "captions.csv does not have a text file's name: --sentences reads .txt and .txt.gz"),
    ],
)
def test_files_without_sentences_are_refused(read, name, content, message):
    with pytest.raises(DataError, match=message):
        read(content, name)


def test_files_that_cannot_be_opened_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.txt cannot be read: No such file"):
        read_sentences([tmp_path / "nowhere.txt"])
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(DataError, match="folder.txt cannot be read: Is a directory"):
        read_sentences([tmp_path / "folder.txt"])


def test_a_file_named_twice_counts_once(tmp_path):
    (tmp_path / "a.txt").write_text("a dog\n")
    (tmp_path / "b.txt").write_text("a cat\n")
    texts = read_sentences([tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "." / "a.txt"])
    assert sentences_of(texts) == ["a dog", "a cat"] and texts.files == ("a.txt", "b.txt")


def test_the_hash_depends_on_the_sentences_only(read):
    assert read("a dog\na cat").sha256() == read("A dog!\r\na cat\n", "other.txt").sha256()
    hashes = {read(text).sha256() for text in ("a dog\na cat", "a cat\na dog", "a dog a cat", "a dog\na")}
    assert len(hashes) == 4
