"""Tables of many dialects become usable records, and every refusal names its line."""

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import by_name, photo, positions, write
from training.data.records import read_records


@pytest.mark.parametrize(
    "name, text",
    [
        ("captions.csv", 'image,caption\na.jpg,"One, two"\na.jpg,Ein Hündchen\nb.jpg,犬がいる\n'),
        ("captions.csv", '\ufefffile_name;text\r\na.jpg;"One, two"\r\na.jpg;Ein Hündchen\r\nb.jpg;犬がいる\r\n'),
        ("captions.tsv", "Image Path\tSentence\na.jpg\tOne, two\na.jpg\tEin Hündchen\nb.jpg\t犬がいる"),
        (
            "results.csv",
            "image_name| number| comment\na.jpg| 0| One, two\na.jpg| 1| Ein Hündchen\nb.jpg| 0| 犬がいる",
        ),
        ("captions.txt", 'image,caption\na.jpg,"One, two"\na.jpg,Ein Hündchen\nb.jpg,犬がいる\n'),
        (
            "metadata.jsonl",
            '{"file_name": "a.jpg", "captions": ["One, two", "Ein Hündchen"]}\n\n'
            '{"image": "b.jpg", "text": "犬がいる"}',
        ),
    ],
)
@pytest.mark.parametrize("inside", ["", "Images"])
def test_every_dialect_is_read(tmp_path, name, text, inside):
    write(tmp_path / name, text)
    for photo_name in ("a.jpg", "b.jpg"):
        photo(tmp_path / inside / photo_name)
    for path in (tmp_path, tmp_path / name):
        data = read_records(path)
        assert data.format == "table" and data.drawn_splits and not data.problems
        assert {key: record.captions for key, record in by_name(data).items()} == {
            "a.jpg": ("One, two", "Ein Hündchen"),
            "b.jpg": ("犬がいる",),
        }


def test_the_split_column_is_read_and_bad_rows_are_refused(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(tmp_path / name)
    rows = [
        b"image,caption,split",
        b"a.jpg,A dog.,training",
        b"b.jpg,A cat.,dev",
        b"a.jpg,A dog.,train",
        b"a.jpg,\xff\xfe,train",
        b"a.jpg,too,many,columns",
        b'a.jpg,"never closed,train',
        b"c.jpg,no split named,",
        b"b.jpg,A cat again.,test",
        b"gone.jpg,lost,train",
        b",no image,train",
        b"c.jpg,what split,holdout",
        b"c.jpg,...,",
        b'c.jpg,"two',
        b'lines",',
    ]
    write(tmp_path / "table.csv", b"\n".join(rows))
    data = read_records(tmp_path)
    records = by_name(data)
    assert {name: record.split for name, record in records.items()} == {
        "a.jpg": "train",
        "b.jpg": "val",
        "c.jpg": None,
    }
    assert records["c.jpg"].captions == ("no split named", "two\nlines")
    assert records["b.jpg"].captions == ("A cat.", "A cat again.")
    assert positions(data, "repeated_entry") == ["table.csv:4"]
    assert positions(data, "bad_entry") == [f"table.csv:{line}" for line in (5, 6, 7, 11, 12)]
    assert positions(data, "two_splits") == ["table.csv:9"]
    assert positions(data, "missing_image") == ["table.csv:10"]
    assert positions(data, "empty_caption") == ["table.csv:13"]
    assert not positions(data, "uncaptioned_image")


def test_an_unclosed_quote_does_not_swallow_other_rows(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(tmp_path / name)
    table = write(tmp_path / "t.csv", 'image,caption\na.jpg,"never closed\nb.jpg,A cat.\nc.jpg,a screen of 5"\n')
    data = read_records(table)
    assert {name: record.captions for name, record in by_name(data).items()} == {
        "b.jpg": ("A cat.",),
        "c.jpg": ('a screen of 5"',),
    }
    assert positions(data, "bad_entry") == ["t.csv:2"]


def test_a_comma_in_unquoted_text_is_reported(tmp_path):
    photo(tmp_path / "a.jpg")
    data = read_records(write(tmp_path / "t.csv", 'image,caption\na.jpg,A dog, a cat\na.jpg, "A dog, a cat"\n'))
    assert data.records[0].captions == ("A dog, a cat",) and positions(data, "bad_entry") == ["t.csv:2"]


def test_bad_json_lines_are_refused(tmp_path):
    photo(tmp_path / "a.jpg")
    lines = [
        b'{"image": "a.jpg", "caption": "A dog."}',
        b'{"image": "a.jpg", "caption": ',
        b'{"picture": "a.jpg"}',
        b'["a.jpg", "A dog."]',
        b'{"image": 7, "caption": "A dog."}',
        b'{"image": "a.jpg", "captions": [3, "", "Two dogs.", "half \\ud83d"]}',
        b'{"image": "a.jpg", "caption": "\xff"}',
    ]
    data = read_records(write(tmp_path / "a.jsonl", b"\n".join(lines)))
    assert [record.captions for record in data.records] == [("A dog.", "Two dogs.")]
    assert sorted(positions(data, "bad_entry")) == [f"a.jsonl:{line}" for line in (2, 3, 4, 5, 6, 6, 7)]
    assert positions(data, "empty_caption") == ["a.jsonl:6"]


def test_a_tsv_needs_no_quoting(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "t.tsv", 'image\tcaption\na.jpg\t"Stop" on a sign\na.jpg\t"open\na.jpg\ta 5" screen\n')
    data = read_records(tmp_path)
    assert data.records[0].captions == ('"Stop" on a sign', '"open', 'a 5" screen') and not data.problems


def test_tables_per_split_are_recognised_by_name_or_folder(tmp_path):
    for split in ("train", "validation"):
        photo(tmp_path / "by-folder" / split / "1.png")
        write(tmp_path / "by-folder" / split / "metadata.csv", f"file_name,text\n1.png,{split}\n")
        photo(tmp_path / "by-name" / f"{split}.png")
        write(tmp_path / "by-name" / f"{split}.csv", f"file_name,text\n{split}.png,{split}\n")
    for folder in ("by-folder", "by-name"):
        data = read_records(tmp_path / folder)
        assert not data.problems
        assert [(record.split, record.captions) for record in data.records] == [
            ("train", ("train",)),
            ("val", ("validation",)),
        ]
        assert len({record.path for record in data.records}) == 2


def test_a_folder_in_the_image_path_names_the_split(tmp_path):
    for name in ("train/a.jpg", "val/b.jpg"):
        photo(tmp_path / name)
    write(tmp_path / "metadata.csv", "file_name,text\ntrain/a.jpg,one\nval\\b.jpg,two\n")
    assert [record.split for record in read_records(tmp_path).records] == ["train", "val"]


def test_a_table_without_column_names_is_refused(tmp_path):
    file = write(tmp_path / "t.csv", "a.jpg,A dog.\n")
    with pytest.raises(DataError, match=r"t\.csv:1: the first line must name the columns"):
        read_records(file)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_windows_encodings_are_read(tmp_path, encoding):
    """UTF-16, or UTF-8 with a byte order mark, and CRLF."""
    photo(tmp_path / "a.jpg")
    data = read_records(write(tmp_path / "t.csv", "image,caption\r\na.jpg,Zwei Hündchen\r\n".encode(encoding)))
    assert by_name(data)["a.jpg"].captions == ("Zwei Hündchen",)
    assert not data.problems


def test_latin_1_is_refused_line_by_line(tmp_path):
    photo(tmp_path / "a.jpg")
    file = write(tmp_path / "t.csv", "image,caption\na.jpg,zwei Hunde\na.jpg,ein Hündchen\n".encode("latin-1"))
    data = read_records(file)
    assert by_name(data)["a.jpg"].captions == ("zwei Hunde",)
    assert [str(problem) for problem in data.problems] == ["t.csv:3: is not UTF-8 text: save the file as UTF-8"]


def test_names_in_another_case_are_used_and_reported(tmp_path):
    for name in ("IMG_1.JPG", "b.jpg", "B.jpg"):
        photo(tmp_path / name)
    data = read_records(write(tmp_path / "t.csv", "image,caption\nimg_1.jpg,A dog.\nb.jpg,b\nB.jpg,B\nb.JPG,c\n"))
    assert {record.path.name: record.captions for record in data.records} == {
        "IMG_1.JPG": ("A dog.",), "b.jpg": ("b",), "B.jpg": ("B",),
    }  # fmt: skip
    assert positions(data, "other_case") == ["t.csv:2"]
    assert positions(data, "missing_image") == ["t.csv:5"]  # ambiguous: it matches both


def test_names_in_another_unicode_form_are_found(tmp_path):
    photo(tmp_path / "cafe\u0301.jpg")
    data = read_records(write(tmp_path / "t.csv", "image,caption\ncaf\u00e9.jpg,A cup.\n"))
    assert len(data.records) == 1 and data.records[0].path.exists()


@pytest.mark.parametrize(
    "name, text",
    [
        ("train.csv", "filepath\ttitle\na.jpg\tA dog.\n"),
        ("t.csv", "Image File,alt_text\na.jpg,A dog.\n"),
        ("t.csv", "id,url,image,prompt\n7,https://example.org/x,a.jpg,A dog.\n"),
        ("t.csv", '"",image,caption\n0,a.jpg,A dog.\n'),
        ("flickr.txt", "image,caption\na.jpg,A dog.\n"),
        ("metadata.jsonl", '{"file_name": "a.jpg", "prompt": "A dog."}\n'),
        ("data.json", '{"file_name": "a.jpg", "text": "A dog."}\n{"file_name": "a.jpg", "text": "A dog."}\n'),
        ("t.csv", 'filename,raw,sentids\na.jpg,"[""A dog.""]","[1, 2]"\n'),
    ],
)
def test_column_names_in_use_are_recognised(tmp_path, name, text):
    photo(tmp_path / "a.jpg")
    file = write(tmp_path / name, text)
    for path in (tmp_path, file):
        data = read_records(path)
        assert data.format == "table" and by_name(data)["a.jpg"].captions == ("A dog.",)


def test_numbered_and_repeated_columns_are_read(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "t.csv", "image,caption_0,caption_1,caption_2\na.jpg,A dog.,,One dog.\n")
    assert by_name(read_records(tmp_path))["a.jpg"].captions == ("A dog.", "One dog.")
    write(tmp_path / "t.csv", "image,caption,caption\na.jpg,A dog.,One dog.\n")
    assert by_name(read_records(tmp_path))["a.jpg"].captions == ("A dog.", "One dog.")


def test_captions_that_begin_with_a_quotation_are_read(tmp_path):
    photo(tmp_path / "a.jpg")
    rows = [
        '" Hello , " says a cat .',
        '"Stop" is written on it',
        'a sign says " stop "',
        '" never closed',
        '"several, with | in it"',
    ]
    lines = ["image_name| comment_number| comment", *(f"a.jpg| {number}| {row}" for number, row in enumerate(rows))]
    write(tmp_path / "t.csv", "\n".join(lines))
    data = read_records(tmp_path)
    assert data.records[0].captions == (*rows[:4], "several, with | in it") and not data.problems


def test_a_leading_quotation_in_a_table_with_commas_is_read_or_reported(tmp_path):
    photo(tmp_path / "a.jpg")
    rows = ['a.jpg,"Stop" is written on it', 'a.jpg,"Stop, now" is written on it', 'a.jpg,"""Stop"" is written on it"']
    data = read_records(write(tmp_path / "t.csv", "\n".join(["image,caption", *rows])))
    assert data.records[0].captions == ('"Stop" is written on it',)
    assert [problem.entry for problem in data.problems] == [3, 4]
    assert "double those in it" in data.problems[0].message and data.problems[1].kind == "repeated_entry"


def test_a_quoted_text_over_two_lines_of_a_tsv_is_read(tmp_path):
    photo(tmp_path / "a.jpg")
    data = read_records(write(tmp_path / "t.tsv", 'image\tcaption\na.jpg\t"one\ntwo"\na.jpg\tthree\n'))
    assert data.records[0].captions == ("one\ntwo", "three") and not data.problems


@pytest.mark.parametrize(
    "line, advice",
    [
        (
            "a.jpg| 4   A dog .",
            "has 2 columns where the header has 3: a separator (|) is missing in 'a.jpg|4   A dog .'",
        ),
        ("a.jpg", "has 1 column where the header has 3: a separator (|) is missing"),
        ("a.jpg| 4| A dog | a cat", "has 4 columns where the header has 3: its text holds the separator (|), so put"),
    ],
)
def test_a_wrong_number_of_columns_is_reported_with_advice(tmp_path, line, advice):
    photo(tmp_path / "a.jpg")
    data = read_records(write(tmp_path / "results.csv", f"image| number| comment\na.jpg| 0| A cat .\n{line}\n"))
    assert positions(data, "bad_entry") == ["results.csv:3"] and advice in data.problems[0].message


@pytest.mark.parametrize(
    "names",
    [
        ("captions_train.csv", "captions_val.csv", "captions_test.csv"),
        ("metadata-train.jsonl", "metadata-validation.jsonl", "metadata-test.jsonl"),
        ("flickr30kTrain.tsv", "flickr30kDev.tsv", "flickr30kTest.tsv"),
        ("annotations/train.csv", "annotations/val.csv", "annotations/test.csv"),
        ("train-00000-of-00001.csv", "val-00000-of-00001.csv", "test-00000-of-00001.csv"),
    ],
)
def test_file_names_that_contain_a_split_are_recognised(tmp_path, names):
    for name, letter in zip(names, "abc", strict=True):
        photo(tmp_path / "images" / f"{letter}.jpg")
        comma = "\t" if name.endswith("tsv") else ","
        text = f"image{comma}caption\n{letter}.jpg{comma}A dog.\n"
        write(tmp_path / name, f'{{"image": "{letter}.jpg", "caption": "A dog."}}\n' if "json" in name else text)
    write(tmp_path / "notes.csv", "when,what\nnow,nothing\n")
    data = read_records(tmp_path)
    splits = {name: record.split for name, record in by_name(data).items()}
    assert splits == {"a.jpg": "train", "b.jpg": "val", "c.jpg": "test"}
    assert [str(problem) for problem in data.problems] == [
        "notes.csv: is not used: columns when, what; no image column (image, file_name, path, ...) and no caption"
        " column (caption, title, text, ...)"
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("captions.csv", "captions.jsonl"),
        ("captions_train.csv", "train.csv"),
        ("a.csv", "b.csv"),
        ("train/metadata.csv", "train/metadata.jsonl"),
        ("annotations/train.csv", "annotations/train.tsv"),
    ],
)
def test_tables_that_may_repeat_each_other_are_refused(tmp_path, names):
    photo(tmp_path / "a.jpg")
    for name in names:
        json_lines = '{"image": "a.jpg", "caption": "A dog."}\n'
        comma = "\t" if name.endswith("tsv") else ","
        write(tmp_path / name, json_lines if "json" in name else f"image{comma}caption\na.jpg{comma}A dog.\n")
    with pytest.raises(DataError, match=f"two files of captions, {names[0]} and {names[1]}, .*give the path of one"):
        read_records(tmp_path)
    assert len(read_records(tmp_path / names[0], images=tmp_path).records) == 1


def test_photos_in_another_folder_than_the_table_are_found(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    write(tmp_path / "tables" / "captions.csv", "image,caption\na.jpg,A dog.\n")
    assert by_name(read_records(tmp_path))["a.jpg"].captions == ("A dog.",)


def test_flags_in_a_table_reject_captions(tmp_path):
    photo(tmp_path / "a.jpg")
    table = "image,caption,is_rejected\na.jpg,A dog.,False\na.jpg,Too dark.,True\n"
    data = read_records(write(tmp_path / "t.csv", table))
    assert data.records[0].captions == ("A dog.",) and positions(data, "rejected_caption") == ["t.csv:3"]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("A dog.\thttps://example.org/a.jpg\n", "no header, and its photos are addresses .https://example.org/a.jpg"),
        ("a.jpg,A dog.\n", "no header: write the names of the columns"),
        ("filepath,size\na.jpg,9\n", "columns filepath, size; no caption column .caption, title, text, "),
        ("url,caption\nhttps://example.org/a.jpg,A dog.\n", "addresses .https://example.org/a.jpg., which are not"),
        ("", "first line is empty"),
    ],
)
def test_an_unreadable_table_is_refused_with_the_reason(tmp_path, text, reason):
    file = write(tmp_path / "train.tsv", text)
    for path in (file, tmp_path):
        with pytest.raises(DataError, match=f"train.tsv(:1)?: .*{reason}"):
            read_records(path)


@pytest.mark.parametrize(
    "above",
    ["sep=;\r\n", '"sep=;"\n', "\n\n", "Table 1;\n", "# exported today\n\n", "My photos;;\n;;\n", "\ufeffsep=;\n"],
)
def test_lines_above_the_column_names_are_skipped(tmp_path, above):
    photo(tmp_path / "a.jpg")
    file = write(tmp_path / "captions.csv", f"{above}image;caption\na.jpg;A dog.\ngone.jpg;A cat.\n")
    for path in (tmp_path, file):
        data = read_records(path)
        assert by_name(data)["a.jpg"].captions == ("A dog.",)
        number = above.count("\n") + 3
        assert positions(data, "missing_image") == [f"captions.csv:{number}"]


def test_a_line_that_names_a_photo_is_no_title(tmp_path):
    """A table without column names is refused, whatever its second line says."""
    photo(tmp_path / "a.jpg")
    write(tmp_path / "captions.csv", "a.jpg,A dog.\nimage,caption\n")
    with pytest.raises(DataError, match="no header.*image,caption.*'a.jpg,A dog.'"):
        read_records(tmp_path)


def test_trailing_empty_columns_are_ignored(tmp_path):
    """Spreadsheets write them for formerly used cells; so do programs that end each row with a separator."""
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path / name)
    for text in (
        "image,caption,,\na.jpg,A dog.,,\nb.jpg,A cat.,,\n,,,\n,,,\n",
        "image,caption\na.jpg,A dog.,\nb.jpg,A cat.,\n",
    ):
        write(tmp_path / "captions.csv", text)
        data = read_records(tmp_path)
        assert {name: record.captions for name, record in by_name(data).items()} == {
            "a.jpg": ("A dog.",),
            "b.jpg": ("A cat.",),
        }
        assert not data.problems


def test_backslash_escaped_quotes_are_read(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "captions.csv", 'image,caption\na.jpg,"a \\"big\\" dog, a cat"\na.jpg,"a \\"bad one, a, b\n')
    data = read_records(tmp_path)
    assert by_name(data)["a.jpg"].captions == ('a "big" dog, a cat',)
    assert positions(data, "bad_entry") == ["captions.csv:3"]


@pytest.mark.parametrize("name, text", [("captions.csv", "image,caption\n"), ("captions.csv", "image,caption\n,\n\n")])
def test_a_table_without_rows_is_reported(tmp_path, name, text):
    photo(tmp_path / "a.jpg")
    write(tmp_path / name, text)
    (problem,) = read_records(tmp_path).problems
    assert str(problem) == "captions.csv: has a header but no rows: add a row for each caption"


def test_json_lines_with_the_commas_of_a_list_are_read(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        photo(tmp_path / name)
    for name in ("captions.jsonl", "captions.json"):
        write(tmp_path / name, '{"image": "a.jpg", "caption": "A dog."},\n{"image": "b.jpg", "caption": "A cat."},\n')
        data = read_records(tmp_path)
        assert data.format == "table" and len(data.records) == 2 and not data.problems
        (tmp_path / name).unlink()


def test_json_lines_named_like_coco_are_read(tmp_path):
    """captions.json is also COCO's name, and JSON lines are no damaged COCO file."""
    photo(tmp_path / "a.jpg")
    write(
        tmp_path / "captions.json", '{"image": "a.jpg", "caption": "A dog."}\n{"image": "a.jpg", "caption": "Dogs."}\n'
    )
    assert by_name(read_records(tmp_path))["a.jpg"].captions == ("A dog.", "Dogs.")


def test_photos_and_captions_separated_by_a_space_are_refused_with_advice(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    file = write(tmp_path / "captions.csv", "a.jpg A dog runs.\n")
    for path in (tmp_path, file):
        with pytest.raises(DataError, match="separated by a space: write a tab"):
            read_records(path)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("a.jpg\tA dog.\n", "no header: write the names of the columns above it .image<tab>caption"),
        ("a.jpg A dog.\n", "separated by a space"),
        ("https://example.org/a.jpg\n", "its photos are addresses"),
        ("picture;words\na.jpg;A dog.\n", "columns picture, words; no caption column"),
    ],
)
def test_texts_that_may_be_tables_get_a_reason(tmp_path, text, reason):
    photo(tmp_path / "images" / "a.jpg")
    write(tmp_path / "all captions.txt", text)
    write(tmp_path / "readme.txt", "About these photos")
    with pytest.raises(DataError, match=rf"all captions.txt: .*{reason}") as error:
        read_records(tmp_path)
    assert "readme" not in str(error.value).partition("Why not")[2]


def test_urls_are_reported_as_they_are_written(tmp_path):
    photo(tmp_path / "a.jpg")
    write(tmp_path / "captions.csv", "url,caption\nhttps://example.org/x/a.jpg?w=9,A dog.\n")
    (problem,) = read_records(tmp_path).problems
    assert "https://example.org/x/a.jpg?w=9 is found as a.jpg" in problem.message
