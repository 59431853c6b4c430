"""The format of a path is detected, and splits are drawn for data sets that have none."""

import pytest

from captioner.errors import DataError
from tests.support.tiny_data_sets import photo, write
from training.data.records import READERS, ImageRecord, draw_splits, read_records


class TestDrawnSplits:
    def records(self, count):
        return [ImageRecord(f"{number}.jpg", None, ("a", "b"), None) for number in range(count)]

    def test_shares_are_kept_and_splits_are_stable_when_photos_are_added(self):
        many = draw_splits(self.records(4000), seed=0)
        shares = {split: sum(record.split == split for record in many) / 4000 for split in ("train", "val", "test")}
        assert abs(shares["val"] - 0.05) < 0.015 and abs(shares["test"] - 0.05) < 0.015
        fewer = draw_splits(self.records(2000)[::-1], seed=0)
        assert {r.image_id: r.split for r in fewer}.items() <= {r.image_id: r.split for r in many}.items()

    def test_the_seed_changes_the_splits(self):
        first, second = (draw_splits(self.records(500), seed) for seed in (0, 1))
        assert [record.split for record in first] != [record.split for record in second]
        assert first == draw_splits(self.records(500), 0)

    @pytest.mark.parametrize("seed", range(40))
    def test_two_photos_are_enough_to_train_and_validate(self, seed):
        assert [record.split for record in draw_splits(self.records(1), seed)] == ["train"]
        for count in (2, 3, 6):
            assert {"train", "val"} <= {record.split for record in draw_splits(self.records(count), seed)}


class TestSniffing:
    def test_an_unknown_folder_is_refused_with_its_content_and_the_known_formats(self, tmp_path):
        photo(tmp_path / "holiday.jpg")
        with pytest.raises(DataError) as error:
            read_records(tmp_path)
        assert "holiday.jpg" in str(error.value)
        assert all(name in str(error.value) for name in READERS)

    def test_two_formats_in_one_folder_need_a_choice(self, tmp_path):
        write(tmp_path / "Flickr8k.token.txt", "a.jpg#0\tA dog .\n")
        write(tmp_path / "captions.csv", "image,caption\na.jpg,A dog.\n")
        photo(tmp_path / "a.jpg")
        with pytest.raises(DataError, match="flickr8k or as table"):
            read_records(tmp_path)
        assert read_records(tmp_path, format="flickr8k").records[0].captions == ("A dog .",)

    @pytest.mark.parametrize(
        "names, message",
        [
            (("captions.csv", "blip.json"), "captions.csv .table. and blip.json .json."),
            (("captions.csv", "annotations/captions_x.json"), "captions_x.json .coco. and captions.csv .table."),
            (("dataset_coco.json", "captions.csv"), "dataset_coco.json .karpathy. and captions.csv .table."),
        ],
    )
    def test_files_of_two_formats_are_named(self, tmp_path, names, message):
        contents = {
            "captions.csv": "image,caption\na.jpg,A dog.\n",
            "blip.json": '[{"image": "a.jpg", "caption": "A dog."}]',
            "dataset_coco.json": '{"images": [{"filename": "a.jpg", "sentences": [{"raw": "A dog."}]}]}',
            "annotations/captions_x.json": '{"images": [{"id": 1, "file_name": "a.jpg"}],'
            ' "annotations": [{"id": 1, "image_id": 1, "caption": "A dog."}]}',
        }
        photo(tmp_path / "a.jpg")
        for name in names:
            write(tmp_path / name, contents[name])
        with pytest.raises(
            DataError, match=f"{message}, which may repeat or contradict each other. Give the path of one"
        ):
            read_records(tmp_path)
        assert len(read_records(tmp_path / names[0]).records) == 1

    def test_sidecars_take_precedence_over_texts_without_photos(self, tmp_path):
        photo(tmp_path / "a.jpg")
        write(tmp_path / "a.txt", "A dog.")
        write(tmp_path / "comments.json", '[{"id": 7, "text": "Nice."}]')
        data = read_records(tmp_path)
        assert data.format == "folder" and data.records[0].captions == ("A dog.",)

    @pytest.mark.parametrize("name", ["coco", "karpathy"])
    def test_json_is_recognised_in_a_folder_of_any_name(self, tmp_path, name):
        content = {
            "coco": '{"images": [{"id": 1, "file_name": "a.jpg"}],'
            ' "annotations": [{"id": 1, "image_id": 1, "caption": "A dog."}]}',
            "karpathy": '{"images": [{"filename": "a.jpg", "sentences": [{"raw": "A dog."}]}]}',
        }
        photo(tmp_path / "pictures" / "a.jpg")
        write(tmp_path / "stuff" / "x.json", content[name])
        data = read_records(tmp_path)
        assert data.format == name and data.records[0].captions == ("A dog.",)
        write(tmp_path / "captions.csv", "image,caption\na.jpg,A cat.\n")
        assert read_records(tmp_path).format == "table"
        (tmp_path / "stuff" / "x.json").rename(tmp_path / "x.json")
        data = read_records(tmp_path, format="table")
        assert "x.json: is not used: also holds captions" in str(data.problems[0])

    def test_a_single_subfolder_is_entered(self, tmp_path):
        inner = tmp_path / "download" / "set" / "v1"
        photo(inner / "images" / "a.jpg")
        write(inner / "captions.csv", "image,caption\na.jpg,A dog.\n")
        write(tmp_path / "download" / "README.md", "# A set\n")
        (tmp_path / "download" / "__MACOSX").mkdir()
        data = read_records(tmp_path / "download")
        assert data.name == "download" and data.root == tmp_path / "download" / "set" / "v1"
        assert len(data.records) == 1 and not data.problems

    def test_a_near_miss_gets_its_reason(self, tmp_path):
        write(tmp_path / "train.csv", "filepath,size\na.jpg,9\n")
        write(tmp_path / "book.xlsx", b"PK")
        write(tmp_path / "deep" / "labels.json", '{"images": [], "annotations": []}')
        photo(tmp_path / "a.jpg")
        write(tmp_path / "b.txt", "A dog.")
        with pytest.raises(DataError) as error:
            read_records(tmp_path)
        for message in (
            "train.csv: columns filepath, size; no caption column (caption, title, text, ...)",
            "book.xlsx: is a spreadsheet: save it as CSV",
            "deep/labels.json: has COCO's form",
            "1 photo, none with a text file of the same name beside it (.caption, .captions, .cap, .txt); texts of",
        ):
            assert message in str(error.value)

    @pytest.mark.parametrize("name", ["a.jpg", "notes.md"])
    def test_a_file_of_another_kind_gets_its_reason(self, tmp_path, name):
        photo(tmp_path / "a.jpg")
        write(tmp_path / "notes.md", "# Notes")
        with pytest.raises(DataError, match="a photo: give the folder" if name == "a.jpg" else "no image column"):
            read_records(tmp_path / name)

    @pytest.mark.parametrize(
        "content", ["null", "7", '"text"', "[]", "{}", "[[]]", '[{"\\ud800": 1}]', '{"a": "\\ud800"}']
    )
    def test_any_json_gets_a_printable_reason(self, tmp_path, content):
        write(tmp_path / "x.json", content)
        for path in (tmp_path, tmp_path / "x.json"):
            with pytest.raises(DataError, match="x.json: ") as error:
                read_records(path)
            str(error.value).encode()

    def test_wrong_arguments_are_refused(self, tmp_path):
        with pytest.raises(DataError, match="nowhere does not exist"):
            read_records(tmp_path / "nowhere")
        with pytest.raises(DataError, match="no format 'voc'.*coco"):
            read_records(tmp_path, format="voc")
        with pytest.raises(DataError, match="not a folder"):
            read_records(tmp_path, images=tmp_path / "nowhere")

    @pytest.mark.parametrize("name", READERS)
    def test_every_format_refuses_an_empty_folder_with_one_sentence(self, tmp_path, name):
        if name == "folder":
            assert read_records(tmp_path, format=name).records == []
        else:
            with pytest.raises(DataError, match=str(tmp_path)):
                read_records(tmp_path, format=name)

    def test_an_empty_split_is_refused_with_the_existing_ones(self, tmp_path):
        photo(tmp_path / "val" / "a.jpg")
        write(tmp_path / "val" / "a.txt", "A dog.")
        data = read_records(tmp_path)
        assert len(data.split("val")) == 1
        with pytest.raises(DataError, match="no usable photo in its train split .0 train, 1 val, 0 test"):
            data.split("train")
        with pytest.raises(DataError, match="no split 'dev'"):
            data.split("dev")
