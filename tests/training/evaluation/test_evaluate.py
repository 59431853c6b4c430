"""The files and the page that an evaluation writes."""

import dataclasses
import errno
import html.parser
import json
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import DataError
from captioner.images.fitting import ImageFrame, fit_image
from captioner.images.photo import open_image
from captioner.ranks import Ranks
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary
from training.data.boxes.box_set import BoxSet, PhotoBoxes, Thing
from training.data.records import ImageRecord
from training.evaluation import evaluate as evaluation
from training.evaluation import page as evaluation_page
from training.evaluation.evaluate import evaluate, write_evaluation
from training.evaluation.metrics import METRICS, Scores
from training.grounding.measure import ground_captions
from training.grounding.scores import Grounding, OcclusionGrounding

CAPTIONS = {  # colour of a photo -> its caption
    (200, 0, 0): "a red ball on the grass",
    (0, 200, 0): "a <b>green</b> hat & a ball",
    (0, 0, 200): "two men play football",
}
REFERENCES = {
    (200, 0, 0): ("A red ball on the grass.", "A ball <script>alert(1)</script>"),
    (0, 200, 0): ("A green hat in the rain", "The hat is green."),
    (0, 0, 200): ("A small boat sails at sunset", "The sea"),
}
OPTIONS = DecodingOptions(beam_width=3, captions_per_image=2)


def make_caption(text: str, width: int, height: int) -> Caption:
    words = tuple(text.split())
    return Caption(
        text=text,
        words=words,
        tokens=tuple(range(len(words))),
        alphas=np.full((len(words), 2, 3), 1 / 6, dtype=np.float32),
        gates=np.ones(len(words), dtype=np.float32),
        word_log_probs=np.full(len(words), -0.5, dtype=np.float32),
        log_prob=-0.5 * len(words),
        score=0.0,
        frame=ImageFrame(width, height, (0.0, 0.0, float(width), float(height))),
    )


class ColourCaptioner:
    """Captions a photo with the entry of CAPTIONS for its colour."""

    bundle = SimpleNamespace(vocabulary=Vocabulary(SPECIAL_WORDS))

    def __init__(self):
        self.batches = []

    def prepare(self, image):
        return fit_image(open_image(image), 8, "squash")

    def caption_pixels(self, pixels, frames, options):
        self.batches.append((len(pixels), options))
        texts = [CAPTIONS[tuple(np.rint(square.mean((0, 1)) / 200).astype(int) * 200)] for square in pixels]
        return [[make_caption(text, frame.width, frame.height)] for text, frame in zip(texts, frames, strict=True)]


@pytest.fixture(scope="module")
def records(tmp_path_factory) -> list[ImageRecord]:
    folder = tmp_path_factory.mktemp("photos")
    records = []
    for number, (colour, captions) in enumerate(REFERENCES.items()):
        path = folder / f"{number} ü.png"
        image = Image.new("RGB", (800, 400), colour)
        if number == 1:  # stored on its side
            exif = Image.Exif()
            exif[0x0112] = 6
            image.save(path, exif=exif)
        else:
            image.save(path)
        records.append(ImageRecord(number, path, captions, "test"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")
    return [
        records[2],
        ImageRecord("<i>broken</i>", folder / "broken.jpg", ("A dog",), "test"),
        *records[:2],
        ImageRecord("gone", folder / "gone.jpg", ("A cat",), "test"),
    ]


@pytest.fixture(scope="module")
def evaluated(records, tmp_path_factory):
    """Return the folder, the result of evaluate, and the captioner. METEOR takes seconds, so that this runs once."""
    output = tmp_path_factory.mktemp("evaluated") / "new" / "folder"
    captioner = ColourCaptioner()
    metrics = evaluate(captioner, records, output, OPTIONS, 2, progress=False, details={"bundle": "<u>mine</u>"})
    return output, metrics, captioner


@dataclasses.dataclass(frozen=True)
class SecondRank(Ranks):
    """The second of two ranks, without the first."""

    rank: int = 1
    size: int = 2

    def map(self, work, count):
        for number in range(self.rank, count, self.size):
            work(number)
        return iter(())

    def from_leader(self, make):
        raise AssertionError("scoring may take longer than ranks wait")


def test_no_other_rank_waits_for_the_scores(records, tmp_path):
    captioner = ColourCaptioner()
    assert evaluate(captioner, records, tmp_path / "new", OPTIONS, 1, progress=False, ranks=SecondRank()) == {}
    assert sum(count for count, _ in captioner.batches) == 1 and not (tmp_path / "new").exists()


@pytest.fixture
def quick_scores(monkeypatch):
    """Replace Java's scores of an image by the number of letters of its caption."""

    def score(candidates, references):
        per_image = {image_id: dict.fromkeys(METRICS, float(len(text))) for image_id, text in candidates.items()}
        return Scores(dict.fromkeys(METRICS, 0.5), per_image)

    monkeypatch.setattr(evaluation, "score_captions", score)


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the visible text of each card."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags, self.cards, self.text = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if dict(attributes).get("class") == "card":
            self.cards.append([])

    def handle_data(self, data):
        (self.cards[-1] if self.cards else self.text).append(data)

    def card(self, index: int) -> str:
        return " ".join("".join(self.cards[index]).split())


def test_metrics_hold_the_scores_and_their_conditions(evaluated):
    output, metrics, _ = evaluated
    assert json.loads((output / "metrics.json").read_text(encoding="utf-8")) == metrics
    assert tuple(metrics)[:7] == METRICS
    assert 0 < metrics["Bleu_1"] < 1 and 0 < metrics["METEOR"] < 1 and metrics["CIDEr"] > 1
    assert (metrics["split"], metrics["images"], metrics["captions"], metrics["references"]) == ("test", 5, 3, 6)
    assert metrics["decoding"] == dataclasses.replace(OPTIONS, captions_per_image=1).to_json()
    assert metrics["bundle"] == "<u>mine</u>" and metrics["seconds"] >= 0


def test_metrics_and_page_show_the_nouns_that_no_reference_has(evaluated):
    output, metrics, _ = evaluated
    counts = metrics["hallucination"]
    assert (counts["captions_with_wrong_noun"], counts["captions"], counts["caption_share"]) == (2, 3, 0.6667)
    assert (counts["wrong_nouns"], counts["nouns"], counts["noun_share"]) == (3, 6, 0.5)
    page = Page(output / "index.html")
    header = " ".join("".join(page.text).split())
    assert "captions with a wrong noun 66.7 % (2 of 3)" in header and "wrong nouns 50.0 % (3 of 6)" in header
    assert "a synonym" in header and "caption_share" not in header  # nor among the facts under its key in metrics.json
    right, one_wrong, two_wrong = map(page.card, range(3))
    assert "wrong nouns" not in right
    assert "wrong nouns: ball" in one_wrong and "wrong nouns: men, football" in two_wrong


def test_references_in_another_language_are_matched_literally(records, tmp_path, quick_scores):
    german = dataclasses.replace(records[0], captions=("Ein kleines Boot segelt abends", "Das weite Meer"))
    metrics = write_evaluation(tmp_path, {2: make_caption("ein boot am strand", 800, 400)}, [german], OPTIONS, {})
    assert metrics["hallucination"]["language"] == "unlisted"
    assert (metrics["hallucination"]["wrong_nouns"], metrics["hallucination"]["nouns"]) == (2, 4)
    assert "The references are not in English" in " ".join("".join(Page(tmp_path / "index.html").text).split())


def test_without_nouns_the_page_shows_no_share_of_wrong_nouns(records, tmp_path, quick_scores):
    metrics = write_evaluation(tmp_path, {2: make_caption("", 800, 400)}, records, OPTIONS, {})
    assert metrics["hallucination"]["noun_share"] is None
    header = " ".join("".join(Page(tmp_path / "index.html").text).split())
    assert "captions with a wrong noun 0.0 % (0 of 1)" in header and "wrong nouns 0" not in header


def test_unreadable_photos_are_skipped_by_name_and_the_rest_of_their_batch_is_captioned(evaluated, records):
    _, metrics, captioner = evaluated
    assert [size for size, _ in captioner.batches] == [1, 2]  # the last batch has no readable photo
    assert [entry["image_id"] for entry in metrics["skipped"]] == ["<i>broken</i>", "gone"]
    for entry, record in zip(metrics["skipped"], (records[1], records[4]), strict=True):
        assert entry["path"] == str(record.path)
        assert record.path.name in entry["reason"]


def test_a_captioner_without_confidence_has_no_confidence_scores(evaluated):
    output, metrics, _ = evaluated
    assert "confidence" not in metrics
    assert "confidence can be trusted" not in (output / "index.html").read_text(encoding="utf-8")


def test_confidence_scores_are_in_the_metrics_and_on_the_page(tmp_path, records, quick_scores):
    captioned = [record for record in records if record.image_id in (0, 1, 2)]
    captions = {
        record.image_id: dataclasses.replace(
            make_caption(text, 8, 6), confidence=confidence, word_confidences=(confidence,) * len(text.split())
        )
        for record, text, confidence in zip(
            captioned, ("a red ball", "a green hat", "two men play football"), (0.9, 0.75, 0.25), strict=True
        )
    }
    metrics = write_evaluation(tmp_path, captions, captioned, OPTIONS, {})
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    scores = metrics["confidence"]["captions"]
    assert scores["count"] == 3 and 0 <= scores["calibration_error"] <= 1
    assert scores["risk_coverage"][-1] == (1.0, pytest.approx(1 - scores["right"], abs=1e-3))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "Reliability of the confidence" in page and page.count("<svg") == 2
    assert "risk_coverage" not in page and "confidence 0.90" in page


def test_results_are_in_cocos_format(evaluated):
    results = json.loads((evaluated[0] / "results.json").read_text(encoding="utf-8"))
    captions = list(CAPTIONS.values())
    assert results == [{"image_id": number, "caption": captions[number]} for number in (2, 0, 1)]


def test_the_page_shows_the_best_caption_first_with_references_and_scores(evaluated):
    output, metrics, _ = evaluated
    page = Page(output / "index.html")
    assert [card.split(" CIDEr")[0] for card in map(page.card, range(3))] == list(CAPTIONS.values())
    for card, captions in zip(map(page.card, range(3)), REFERENCES.values(), strict=True):
        assert all(caption in card for caption in captions)
    header = " ".join("".join(page.text).split())
    assert all(f"{metrics[name]:.3f}" in header for name in METRICS)
    assert "3 of 5 photos captioned and scored against 6 references" in header
    assert "beam width 3" in header
    assert "2 photos skipped" in header and metrics["skipped"][0]["reason"] in header


def test_no_text_becomes_markup(evaluated):
    tags = [tag for tag, _ in Page(evaluated[0] / "index.html").tags]
    assert tags.count("script") == 1
    assert not {"i", "u"} & set(tags)
    assert tags.count("b") == 3  # the CIDEr of each card, not the caption's


def test_the_page_and_its_folder_are_self_contained(evaluated):
    output, _, _ = evaluated
    links = {
        attributes[name]
        for _, attributes in Page(output / "index.html").tags
        for name in ("src", "href")
        if name in attributes
    }
    assert len(links) == 6  # a photo and a strip each
    files = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    assert files == links | {"index.html", "metrics.json", "results.json"}
    assert "//" not in (output / "index.html").read_text(encoding="utf-8").replace("<!DOCTYPE", "")


def test_photos_on_the_page_are_small_and_upright(evaluated):
    output, _, _ = evaluated
    page = Page(output / "index.html")
    photos = [attributes["src"] for tag, attributes in page.tags if tag == "img" and "-" not in attributes["src"]]
    sizes = []
    for photo in photos:
        with Image.open(output / photo) as image:
            assert image.format == "JPEG"
            sizes.append(image.size)
    assert sizes == [(320, 160), (160, 320), (320, 160)]


def test_with_many_images_the_page_shows_the_best_and_the_worst_with_some_strips(
    records, tmp_path, quick_scores, monkeypatch
):
    monkeypatch.setattr(evaluation_page, "CARDS", 5)
    monkeypatch.setattr(evaluation_page, "STRIPS", 3)
    many_records = [dataclasses.replace(records[0], image_id=n) for n in range(9)]
    captions = {n: make_caption("x" * (n + 1), 800, 400) for n in range(9)}
    write_evaluation(tmp_path, captions, many_records, OPTIONS, {})
    page = Page(tmp_path / "index.html")
    assert [page.card(n).split()[0] for n in range(5)] == ["x" * n for n in (9, 8, 7, 2, 1)]
    assert "the 3 best and the 2 worst" in " ".join("".join(page.text).split())
    sources = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert [("-" in source) for source in sources] == [False, True, False, True, False, False, False, True]
    assert all((tmp_path / source).is_file() for source in sources)


def test_given_captions_are_scored_even_if_a_photo_is_missing_or_changed(records, tmp_path, quick_scores):
    captions = {
        2: make_caption("a boat", 640, 480),
        "gone": make_caption("a cat", 800, 400),
        0: make_caption("", 800, 400),
    }
    metrics = write_evaluation(tmp_path, captions, records, OPTIONS, {"captions": "not this", "seed": 1})
    assert metrics["captions"] == 3 and metrics["seed"] == 1
    reasons = {entry["image_id"]: entry["reason"] for entry in metrics["skipped"]}
    assert "broken.jpg" in reasons["<i>broken</i>"] and "it was not captioned" in reasons[1]
    page = Page(tmp_path / "index.html")
    changed, gone, empty = map(page.card, range(3))
    assert changed.startswith("a boat") and "800 x 400" in changed
    assert "gone.jpg does not exist" in gone and "a cat" in gone
    assert empty.startswith("(no words)")
    assert sum(tag == "img" for tag, _ in page.tags) == 2  # no strip of the changed photo and of the empty caption


def test_a_failed_write_is_reported_and_keeps_the_earlier_files(records, tmp_path, quick_scores, monkeypatch):
    captions = {2: make_caption("a boat", 800, 400)}
    write_evaluation(tmp_path, captions, records, OPTIONS, {"run": 1})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    replace = os.replace

    def no_room_for_the_page(source, target):
        if Path(target).name == "index.html":
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", no_room_for_the_page)
    with pytest.raises(DataError, match="cannot be written: No space left"):
        write_evaluation(tmp_path, captions, records, OPTIONS, {"run": 2})
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_impossible_evaluations_are_refused_before_captioning(records, tmp_path):
    captioner = ColourCaptioner()
    without_references = dataclasses.replace(records[0], captions=())
    blocking_file = tmp_path / "file"
    blocking_file.touch()
    for bad_records, output, message in [
        ([], tmp_path, "nothing to score"),
        ([records[2], without_references], tmp_path, "image 2 has no reference"),
        ([records[0], records[2], records[0]], tmp_path, "image 2 occurs twice"),
        (records, blocking_file, "cannot be created: "),
        ([records[1], records[4]], tmp_path, "none of the 2 photos .*broken.jpg"),
    ]:
        with pytest.raises(DataError, match=message):
            evaluate(captioner, bad_records, output, OPTIONS, progress=False)
    assert not captioner.batches


def test_captions_of_unknown_images_are_refused(records, tmp_path):
    with pytest.raises(DataError, match="'other' .*not among the references"):
        write_evaluation(tmp_path, {"other": make_caption("a boat", 800, 400)}, records, OPTIONS, {})


def test_details_that_json_cannot_hold_are_refused_before_anything_is_written(records, tmp_path, quick_scores):
    captions = {2: make_caption("a boat", 800, 400)}
    with pytest.raises(DataError, match=r"metrics.json cannot be written: .*texts and numbers"):
        write_evaluation(tmp_path, captions, records, OPTIONS, {"loss": float("nan")})
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# --- attention on boxes


THINGS = (
    Thing(frozenset({"ball"}), ((0.0, 0.0, 0.5, 1.0),), ("things",)),
    Thing(frozenset({"grass"}), ((0.25, 0.5, 1.0, 1.0),), ("<b>scenes</b>",)),
)


@pytest.fixture
def boxes() -> BoxSet:
    """Boxes of the photo "0 ü.png", 800 x 400."""
    counts = Counter({"boxes without a phrase": 1234})
    photo = PhotoBoxes({}, THINGS, has_sentences=False)
    return BoxSet("<i>hand-made</i>", {"0 ü.png": photo}, counts, {"boxes without a phrase": "0 ü.xml"})


def make_grounding(boxes: BoxSet, captions) -> Grounding:
    """Return a grounding as if the references had the same words."""
    record = ImageRecord(0, Path("0 ü.png"), ("A red ball on the grass.",), "test")
    scores = ground_captions(captions, [record], boxes)
    return Grounding(scores, scores, boxes)


def test_with_boxes_metrics_and_page_show_how_well_the_maps_point(records, tmp_path, quick_scores, boxes):
    captions = {0: make_caption("a red ball on the grass", 800, 400)}
    metrics = write_evaluation(tmp_path, captions, records, OPTIONS, {}, grounding=make_grounding(boxes, captions))
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    scores = metrics["grounding"]["captions"]
    assert scores["head"] == {"attention_correctness": 0.4375, "pointing": 0.5} and scores["phrases"] == 2
    assert scores["by_type"]["things"]["uniform"] == {"attention_correctness": 0.5, "pointing": pytest.approx(0.6667)}
    page = Page(tmp_path / "index.html")
    header = " ".join("".join(page.text).split())
    assert "Where the model attends Boxes of <i>hand-made</i>." in header
    assert "all 2 0.438 0.438 0.438" in header and "things 1 0.500 0.500 0.500" in header
    assert "<b>scenes</b> 1 0.375" in header and "large boxes 2" in header
    assert "names of boxed things in captions made: 2" in header
    assert "boxes without a phrase: 1,234 (0 ü.xml)" in header
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == 3 and "i" not in tags and tags.count("b") == 1
    assert "by_type" not in header  # nor among the facts under its key in metrics.json


def test_occlusion_maps_have_their_own_tables(records, tmp_path, quick_scores, boxes):
    captions = {0: make_caption("a red ball on the grass", 800, 400)}
    grounding = make_grounding(boxes, captions)
    grounding = dataclasses.replace(grounding, occlusion=OcclusionGrounding(1, grounding.captions, grounding.captions))
    metrics = write_evaluation(tmp_path, captions, records, OPTIONS, {}, grounding=grounding)
    assert metrics["grounding"]["evidence"]["photos"] == 1
    assert metrics["grounding"]["evidence"]["evidence"]["phrases"] == 2
    header = " ".join("".join(Page(tmp_path / "index.html").text).split())
    assert "Occlusion maps (why this word), names in the captions of 1 photo" in header
    assert "Attention, names in the captions of 1 photo" in header


def test_captions_that_name_nothing_get_a_sentence_in_place_of_a_table(records, tmp_path, quick_scores, boxes):
    captions = {0: make_caption("two men play", 800, 400)}
    write_evaluation(tmp_path, captions, records, OPTIONS, {}, grounding=make_grounding(boxes, captions))
    page = Page(tmp_path / "index.html")
    assert [tag for tag, _ in page.tags].count("table") == 1
    assert "Names in the generated captions: none could be measured." in " ".join("".join(page.text).split())


def test_strips_outline_the_boxes_of_naming_words(records, tmp_path, quick_scores, boxes, monkeypatch):
    drawn_outlines = []

    def figure(photo, caption, outlines):
        drawn_outlines.append(outlines)
        return photo

    captions = {0: make_caption("a red ball on the grass", 800, 400), 2: make_caption("a ball", 800, 400)}
    write_evaluation(tmp_path, captions, records, OPTIONS, {})
    monkeypatch.setattr(evaluation_page, "figure_strip", figure)
    write_evaluation(tmp_path, captions, records, OPTIONS, {}, grounding=make_grounding(boxes, {0: captions[0]}))
    assert drawn_outlines == [{2: [(0, 0, 400, 400)], 5: [(200, 200, 800, 400)]}, {}]
    assert len(list((tmp_path / "photos").glob("*-*.jpg"))) == 3  # one with and one without boxes, one that has none


def test_evaluate_measures_the_maps_of_references_and_captions(records, tmp_path, quick_scores, boxes, tiny_bundle):
    tiny = Captioner(tiny_bundle, "cpu")
    metrics = evaluate(tiny, [records[1], records[2]], tmp_path, OPTIONS, progress=False, boxes=boxes)
    grounding = metrics["grounding"]
    assert grounding["references"]["phrases"] == 3  # ball, grass; ball
    assert 0 < grounding["references"]["head"]["attention_correctness"] < 1
    assert grounding["references"]["by_type"]["things"]["uniform"] == {"attention_correctness": 0.5, "pointing": 0.5}
    assert grounding["counts"]["references"]["photos without boxes"] == 1
    assert grounding["counts"]["captions"]["captions made"] == 1
    plain_metrics = evaluate(tiny, [records[2]], tmp_path, OPTIONS, progress=False)
    assert "grounding" not in plain_metrics


def test_boxes_of_other_photos_are_refused_before_captioning(records, tmp_path):
    captioner = ColourCaptioner()
    with pytest.raises(DataError, match="other has no phrase of these captions that can be measured"):
        evaluate(captioner, records, tmp_path, OPTIONS, progress=False, boxes=BoxSet("other", {}))
    assert not captioner.batches
