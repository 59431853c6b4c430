"""COCO's instances: boxes of categories and the words that name them are read, and broken entries counted."""

import json

import pytest

from tests.support.box_files import instances_file
from tests.support.tiny_data_sets import write
from training.data.boxes.box_set import phrases_of
from training.data.boxes.readers.category_words import SYNONYMS, names_of
from training.data.boxes.readers.formats import read_boxes
from training.data.boxes.readers.noun_forms import IRREGULAR, plural, singular

HALF, REST = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
CATEGORIES = [(1, "person", "person"), (5, "fire hydrant", "outdoor"), (8, "hot dog", "food"), (9, "dog", None)]


def test_things_are_found_among_the_words_of_any_caption(tmp_path):
    annotations = [(7, 1, [0, 0, 50, 50]), (7, 1, [50, 0, 50, 50]), (7, 5, [50, 0, 50, 50]), (7, 9, [0, 0, 50, 50])]
    file = instances_file(tmp_path / "a.json", [(7, "a.jpg"), (8, "b.jpg")], CATEGORIES, annotations)
    boxes = read_boxes(file)
    phrases = phrases_of(boxes.photos["a.jpg"], "two men near fire hydrants with a dog and another hydrant".split())
    assert [(phrase.first, phrase.last, phrase.boxes, phrase.types) for phrase in phrases] == [
        (1, 1, (HALF, REST), ("person",)),
        (3, 4, (REST,), ("outdoor",)),
        (7, 7, (HALF,), ("dog",)),
        (10, 10, (REST,), ("outdoor",)),
    ]
    assert phrases_of(boxes.photos["b.jpg"], ("a", "man")) == []
    assert boxes.counts == {"photos": 2, "boxes": 4, "photos without boxes": 1}
    assert boxes.examples == {"photos without boxes": "b.jpg"}


def test_nothing_is_printed(tmp_path, capfd):
    read_boxes(instances_file(tmp_path / "a.json", [(7, "a.jpg")], CATEGORIES, []))
    assert capfd.readouterr() == ("", "")


def test_annotations_of_one_id_and_crowds_all_count(tmp_path):
    file = instances_file(
        tmp_path / "a.json", [(7, "a.jpg")], CATEGORIES, [(7, 1, [0, 0, 50, 50]), (7, 1, [50, 0, 50, 50])]
    )
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        annotation |= {"id": 3, "iscrowd": 1, "segmentation": {"counts": [1], "size": [50, 100]}}
    boxes = read_boxes(write(file, json.dumps(content)))
    assert boxes.photos["a.jpg"].things[0].boxes == (HALF, REST) and not boxes.examples


@pytest.mark.parametrize(
    ("bbox", "kind"),
    [
        ([0, 0, 0, 50], "empty or reversed boxes"),
        ([50, 0, -20, 50], "empty or reversed boxes"),
        ([100, 0, 20, 50], "boxes outside the photo"),
        ([50, 0, 51, 50], "boxes clipped to the photo"),
        ([0, 0, 50], "boxes that are not four numbers"),
        ([0, 0, "50", 50], "boxes that are not four numbers"),
        ([0, 0, 1e308, float("inf")], "boxes that are not four numbers"),
        ([1.7e308, 0, 1.7e308, 50], "boxes that are not four numbers"),
        (None, "boxes that are not four numbers"),
    ],
)
def test_broken_boxes_are_counted(tmp_path, bbox, kind):
    boxes = read_boxes(
        instances_file(tmp_path / "a.json", [(7, "a.jpg")], CATEGORIES, [(7, 1, bbox), (7, 9, [0, 0, 50, 50])])
    )
    assert boxes.photos["a.jpg"].things[-1].boxes == (HALF,)
    assert list(boxes.examples) == [kind] and boxes.examples[kind].startswith("a.jpg, annotations[0]: ")


GOOD = {
    "images": {"id": 7, "file_name": "a.jpg", "width": 100, "height": 50},
    "categories": {"id": 1, "name": "person", "supercategory": "person"},
    "annotations": {"id": 1, "image_id": 7, "category_id": 1, "bbox": [0, 0, 50, 50]},
}


@pytest.mark.parametrize(
    ("list_name", "broken", "kind"),
    [
        ("images", 3, "images without id and file_name"),
        ("images", {"id": 8}, "images without id and file_name"),
        ("images", {"id": [8], "file_name": "b.jpg"}, "images without id and file_name"),
        ("images", {"id": True, "file_name": "b.jpg"}, "images without id and file_name"),
        ("images", {"id": 8, "file_name": ""}, "images without id and file_name"),
        ("images", {"id": 8, "file_name": "b.jpg"}, "photos without a size"),
        ("images", GOOD["images"] | {"id": 8, "width": 0}, "photos without a size"),
        ("images", GOOD["images"] | {"file_name": "b.jpg"}, "images that repeat an id"),
        ("images", GOOD["images"] | {"id": 8}, "photos that are listed twice"),
        ("categories", 3, "categories without id and name"),
        ("categories", {"id": 2}, "categories without id and name"),
        ("categories", {"id": {}, "name": "dog"}, "categories without id and name"),
        ("categories", {"id": 2, "name": "!"}, "categories without id and name"),
        ("annotations", 3, "annotations without image_id and category_id"),
        ("annotations", {"image_id": 7}, "annotations without image_id and category_id"),
        ("annotations", {"image_id": [7], "category_id": 1}, "annotations without image_id and category_id"),
        ("annotations", GOOD["annotations"] | {"image_id": 9}, "annotations of no photo in the file"),
        ("annotations", GOOD["annotations"] | {"category_id": 9}, "annotations of no category in the file"),
        ("annotations", {"image_id": 7, "category_id": 1}, "boxes that are not four numbers"),
    ],
)
def test_broken_entries_are_counted_and_the_others_kept(tmp_path, list_name, broken, kind):
    content = {key: [value, broken] if key == list_name else [value] for key, value in GOOD.items()}
    boxes = read_boxes(write(tmp_path / "a.json", json.dumps(content)))
    assert list(boxes.photos) == ["a.jpg"] and boxes.photos["a.jpg"].things[0].boxes == (HALF,)
    assert list(boxes.examples) == [kind] and boxes.counts[kind] == 1
    assert f"{list_name}[1]" in boxes.examples[kind] or boxes.examples[kind] == "a.jpg"


@pytest.mark.parametrize(
    ("category", "names"),
    [
        ("person", "person people man men woman women boy girls child children kids player"),
        ("motorcycle", "motorcycle motorcycles motorbike motorbikes bike bikes"),
        ("bicycle", "bicycles bike"),
        ("couch", "couches sofa sofas"),
        ("tv", "tv tvs television televisions"),
        ("dining table", "dining_table tables table desk"),
        ("cell phone", "cell_phone cell_phones cellphone phone phones"),
        ("potted plant", "potted_plants plant"),
        ("airplane", "airplanes plane planes jet"),
        ("bus", "bus buses"),
        ("knife", "knife knives"),
        ("mouse", "mouse mice"),
        ("hot dog", "hot_dog hot_dogs hotdog hotdogs hot-dog"),
        ("tennis racket", "tennis_racket racket rackets racquet tennis_racquets"),
        ("sheep", "sheep lambs"),
        ("skis", "skis ski"),
        ("Traffic_Cone", "traffic_cone traffic_cones"),
    ],
)
def test_categories_have_synonyms_and_plurals(category, names):
    assert {name.replace("_", " ") for name in names.split()} <= names_of(category)


def test_names_have_few_other_meanings():
    assert not names_of("hot dog") & names_of("dog") and names_of("!") == frozenset()
    assert names_of("traffic cone") == {f"traffic{joint}{end}" for joint in " -" for end in ("cone", "cones")} | {
        "trafficcone",
        "trafficcones",
    }
    assert len(SYNONYMS) == 80  # COCO's categories


@pytest.mark.parametrize(
    "pair",
    "dog dogs/box boxes/bench benches/dish dishes/puppy puppies/toy toys/glove gloves/shoe shoes/horse horses/dress"
    " dresses/fireman firemen/policewoman policewomen/grandchild grandchildren/human humans/wave waves/ski skis"
    "/bookshelf bookshelves/superhero superheroes/necktie neckties/specimen specimens/abdomen abdomens"
    "/starfish starfish/mosquito mosquitoes/dwarf dwarves/buffalo buffalos".split("/"),
)
def test_singular_and_plural_follow_the_rules(pair):
    noun, nouns = pair.split()
    assert (plural(noun), singular(nouns), singular(noun)) == (nouns, noun, noun)


@pytest.mark.parametrize(
    "word",
    ["sheep", "clothes", "sunglasses", "grass", "tennis", "bus", "'s", "gas", "person", "stairs", "abdomen", "news"],
)
def test_words_that_are_no_plural_are_unchanged(word):
    assert singular(word) == word


def test_irregular_nouns_convert_both_ways():
    for noun, nouns in IRREGULAR.items():
        assert (plural(noun), singular(nouns), singular(noun)) == (nouns, noun, noun)
    assert plural("sheep") == "sheep"


def test_ids_that_differ_only_in_type_are_matched(tmp_path):
    categories = [("1", "person", "person")]
    file = instances_file(
        tmp_path / "a.json", [("7", "a.jpg")], categories, [(7, 1, [0, 0, 50, 50]), (8, 1, [0, 0, 9, 9])]
    )
    boxes = read_boxes(file)
    assert boxes.photos["a.jpg"].things[0].boxes == (HALF,)
    assert boxes.counts["annotations of no photo in the file"] == 1
