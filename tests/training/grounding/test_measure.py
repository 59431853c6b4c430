"""Maps on the box of the named thing score, others do not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from captioner.captioner import Caption, Captioner
from captioner.errors import DataError
from captioner.images.fitting import ImageFrame, fit_image
from training.data.boxes.box_set import BoxSet, PhotoBoxes, Phrase, Thing
from training.data.boxes.regions import coverage
from training.data.records import ImageRecord
from training.grounding import measure as measuring
from training.grounding.measure import (
    attention_correctness,
    centre_gaussian,
    ground_captions,
    ground_occlusion_maps,
    ground_references,
    outlines_of,
    points_inside,
    reference_maps,
    score_phrase,
)
from training.grounding.scores import Grounding, MapScores, PhraseScore, in_one_line, size_of, summarise

WHOLE = (0.0, 0.0, 1.0, 1.0)
LEFT_HALF, RIGHT_HALF = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)


def frame_of(width: int, height: int, fit: str = "squash") -> ImageFrame:
    return fit_image(Image.new("RGB", (width, height)), 8, fit)[1]


def peaked(row: int, column: int, grid: tuple[int, int] = (4, 4), peak: float = 1.0) -> np.ndarray:
    alpha = np.full(grid, (1 - peak) / (grid[0] * grid[1]), dtype=np.float32)
    alpha[row, column] += peak
    return alpha


def uniform(grid: tuple[int, int] = (4, 4)) -> np.ndarray:
    return np.full(grid, 1 / (grid[0] * grid[1]), dtype=np.float32)


# --- scores of one map


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_a_perfect_map_scores_one_and_a_uniform_map_its_share_of_the_area(fit):
    frame, grid, box = frame_of(120, 80, fit), (6, 6), (0.4, 0.3, 0.7, 0.8)
    covered = coverage([box], frame, grid)
    perfect = (covered == 1) / (covered == 1).sum()
    assert attention_correctness(perfect, covered) == pytest.approx(1)
    left, top, right, bottom = frame.seen_box
    area = (0.3 * 120) * (0.5 * 80) / ((right - left) * (bottom - top))  # the box lies within every fit
    assert attention_correctness(uniform(grid), covered) == pytest.approx(area)


def test_a_cell_counts_by_the_share_within_the_box():
    frame, grid = frame_of(40, 40), (4, 4)
    alpha = 0.5 * peaked(0, 0) + 0.5 * peaked(3, 3)
    covered = coverage([(0.0, 0.0, 0.125, 0.25)], frame, grid)  # half of the first cell
    assert attention_correctness(alpha, covered) == pytest.approx(0.25)


def test_a_peak_in_a_box_points_at_it_and_one_beside_it_misses():
    frame, boxes = frame_of(300, 100), [(0.5, 0.0, 0.75, 0.5)]  # the third cell of the first two rows
    assert points_inside(peaked(0, 2, peak=0.1), boxes, frame)
    for row, column in [(0, 1), (0, 3), (2, 2)]:
        assert not points_inside(peaked(row, column, peak=0.1), boxes, frame)
    assert not points_inside(peaked(0, 2), [], frame)


def test_the_first_of_equal_peaks_in_row_order_points():
    frame = frame_of(10, 10)
    assert points_inside(uniform(), [(0.0, 0.0, 0.25, 0.25)], frame)
    assert not points_inside(uniform(), [(0.25, 0.0, 1.0, 1.0)], frame)
    both = peaked(0, 3) + peaked(1, 0)
    assert points_inside(both, [(0.75, 0.0, 1.0, 0.25)], frame)


def test_a_peak_on_the_padding_misses():
    frame = frame_of(100, 400, "pad")
    assert not points_inside(peaked(0, 0), [WHOLE], frame)
    assert points_inside(peaked(0, 1), [WHOLE], frame)  # centre of the cell: the photo's edge


@pytest.mark.parametrize("grid", [(4, 4), (5, 5), (3, 6)])
def test_the_centre_map_is_a_gaussian_around_the_centre(grid):
    alpha = centre_gaussian(grid)
    assert alpha.shape == grid and alpha.sum() == pytest.approx(1)
    np.testing.assert_array_equal(alpha, alpha[::-1])
    np.testing.assert_array_equal(alpha, alpha[:, ::-1])
    assert np.unravel_index(alpha.argmax(), grid) == ((grid[0] - 1) // 2, (grid[1] - 1) // 2)
    # From the centre of the first column to the middle, in standard deviations of a quarter of the side.
    deviations = (0.5 - 0.5 / grid[1]) / 0.25
    middle = (0.5 - ((grid[1] - 1) // 2 + 0.5) / grid[1]) / 0.25
    assert alpha[0, 0] / alpha[0, (grid[1] - 1) // 2] == pytest.approx(np.exp((middle**2 - deviations**2) / 2))


# --- one phrase


def test_the_head_is_the_last_word_and_the_best_word_is_chosen_per_score():
    # Most of the first word's map is inside, but its peak is not; the second is the other way round.
    inside_only = np.array([[0.3, 0.3, 0.4, 0.0]], dtype=np.float32)
    peak_inside = np.array([[0.4, 0.0, 0.3, 0.3]], dtype=np.float32)
    outside = np.array([[0.0, 0.0, 0.0, 1.0]], dtype=np.float32)
    score = score_phrase(np.stack([inside_only, peak_inside, outside]), [LEFT_HALF], ("people",), frame_of(40, 10))
    assert score.map_scores["head"] == MapScores(0, 0)
    assert score.map_scores["best_word"].attention_correctness == pytest.approx(0.6)
    assert score.map_scores["best_word"].pointing == 1
    assert score.types == ("people",) and score.size == "large"


def test_baseline_maps_score_as_expected_by_chance():
    score = score_phrase(uniform((1, 4))[None], [(0.0, 0.0, 0.3, 1.0)], (), frame_of(40, 10))
    assert score.map_scores["uniform"].attention_correctness == pytest.approx(0.3)
    assert score.map_scores["uniform"].pointing == 0.25  # one centre of four
    centre = centre_gaussian((1, 4))[0]
    assert score.map_scores["centre_gaussian"].attention_correctness == pytest.approx(centre[0] + 0.2 * centre[1])
    assert score.map_scores["centre_gaussian"].pointing == 0  # its peak is the second cell, whose centre is outside
    assert (
        score_phrase(uniform((1, 4))[None], [LEFT_HALF], (), frame_of(40, 10)).map_scores["centre_gaussian"].pointing
        == 1
    )


def test_boxes_outside_the_models_input_have_no_score():
    assert score_phrase(uniform()[None], [(0.0, 0.0, 0.2, 1.0)], (), frame_of(400, 100, "crop")) is None


@pytest.mark.parametrize(
    ("boxes", "size"),
    [
        ([(0.0, 0.0, 0.25, 0.24)], "small"),
        ([(0.0, 0.0, 0.25, 0.25)], "medium"),
        ([(0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 0.7, 0.7)], "medium"),  # together
        ([(0.0, 0.0, 0.2, 0.2), (0.0, 0.0, 0.2, 0.2)], "small"),  # the same box twice
        ([(0.0, 0.0, 0.5, 0.5)], "large"),
        ([WHOLE], "large"),
    ],
)
def test_sizes_depend_on_the_area_that_boxes_cover_together(boxes, size):
    assert size_of(boxes) == size


# --- many phrases


def score_of(value: float, types: tuple[str, ...], size: str) -> PhraseScore:
    names = ("head", "best_word", "uniform", "centre_gaussian")
    return PhraseScore({name: MapScores(value / n, value) for n, name in enumerate(names, 1)}, types, size)


def test_means_are_over_all_phrases_by_type_and_by_size():
    scores = [
        score_of(1, ("people",), "large"),
        score_of(0, ("people", "animals"), "small"),
        score_of(0.5, (), "small"),
    ]
    summary = summarise(scores, {"boxed phrases": 3})
    assert summary.overall.phrases == 3 and summary.overall.map_scores["head"] == MapScores(0.5, 0.5)
    assert summary.overall.map_scores["best_word"] == MapScores(0.25, 0.5)
    assert {kind: (mean.phrases, mean.map_scores["head"].pointing) for kind, mean in summary.by_type.items()} == {
        "people": (2, 0.5),
        "animals": (1, 0),
    }
    assert list(summary.by_type) == ["people", "animals"]
    assert {size: (mean.phrases, mean.map_scores["head"].pointing) for size, mean in summary.by_size.items()} == {
        "small": (2, 0.25),
        "large": (1, 1),
    }
    assert summary.counts == {"boxed phrases": 3}


def test_json_is_rounded_and_complete():
    references = summarise([score_of(1 / 3, ("people",), "large")], {"photos": 1})
    empty = summarise([], {"captions made": 2})
    boxes = BoxSet("mine", {}, Counter({"boxes too small": 4}), {"boxes too small": "a.xml"})
    metrics = Grounding(references, empty, boxes).to_json()
    mean = {
        "head": {"attention_correctness": 0.3333, "pointing": 0.3333},
        "best_word": {"attention_correctness": 0.1667, "pointing": 0.3333},
        "uniform": {"attention_correctness": 0.1111, "pointing": 0.3333},
        "centre_gaussian": {"attention_correctness": 0.0833, "pointing": 0.3333},
        "phrases": 1,
    }
    assert metrics == {
        "references": {**mean, "by_type": {"people": mean}, "by_size": {"large": mean}},
        "captions": {"phrases": 0, "by_type": {}, "by_size": {}},
        "counts": {"references": {"photos": 1}, "captions": {"captions made": 2}, "boxes": {"boxes too small": 4}},
        "examples": {"boxes too small": "a.xml"},
        "boxes": "mine",
    }
    assert in_one_line(metrics["references"]) == (
        "attention correctness 0.333 (uniform 0.111, centre 0.083), pointing 0.333 (0.333, 0.333) over 1 phrase"
    )


# --- maps of reference captions


@pytest.fixture
def tiny(tiny_bundle) -> Captioner:
    """Its maps are 2 x 2 and differ between words."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for parameter in tiny_bundle.model.decoder.score.parameters():
            torch.nn.init.normal_(parameter)
        torch.nn.init.normal_(tiny_bundle.model.decoder.score.annotation_to_key.weight, std=30)  # annotations are small
    return Captioner(tiny_bundle, "cpu")


@pytest.fixture
def records(tmp_path) -> list[ImageRecord]:
    captions = [("A dog runs on the grass.", "The red ball"), ("A child with a zebra", "Grass"), ("A dog",)]
    records = []
    for number, texts in enumerate(captions):
        path = tmp_path / f"{number}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        records.append(ImageRecord(f"id {number}", path, texts, "test"))
    return records


def photo_with_phrases(phrases_by_caption: dict[str, list[Phrase]]) -> PhotoBoxes:
    return PhotoBoxes({tuple(caption.split()): phrases for caption, phrases in phrases_by_caption.items()}, ())


def boxes_of(*photos: PhotoBoxes) -> BoxSet:
    return BoxSet("hand-made boxes", {f"{number}.png": photo for number, photo in enumerate(photos)})


def test_reference_maps_belong_to_their_words(tiny, records):
    """Teacher-forced with its own captions, in a batch with longer ones, the captioner attends as before."""
    captions = tiny.caption([record.path for record in records])
    captioned = [
        replace(record, captions=(caption.text, *["a dog runs on the grass with the child"] * number))
        for number, (record, caption) in enumerate(zip(records, captions, strict=True))
    ]
    results = list(reference_maps(tiny, captioned, batch_size=2, progress=False))
    # Another word's map would not match.
    assert max(np.abs(np.diff(caption.alphas, axis=0)).max() for caption in captions) > 0.01
    for (record, maps), before, caption in zip(results, captioned, captions, strict=True):
        assert record is before and maps.frame == caption.frame
        assert len(maps.maps) == len(record.captions) and len(caption.words) > 1
        np.testing.assert_allclose(maps.maps[0], caption.alphas, atol=1e-4)
        for alphas in maps.maps[1:]:
            assert alphas.shape == (9, 2, 2)
            np.testing.assert_allclose(alphas.sum(axis=(1, 2)), 1, rtol=1e-5)


def test_an_unreadable_photo_has_no_maps_and_the_rest_of_its_batch_has(tiny, records):
    records[1].path.write_bytes(b"no photo")
    results = list(reference_maps(tiny, records, batch_size=2, progress=False))
    assert [maps is None for _, maps in results] == [False, True, False]
    assert [record.image_id for record, _ in results] == ["id 0", "id 1", "id 2"]


def test_phrases_of_references_are_measured_by_the_maps_of_their_words(tiny, records):
    photo = photo_with_phrases(
        {"a dog runs on the grass": [Phrase(0, 1, (LEFT_HALF,), ("animals",)), Phrase(4, 5, (WHOLE,), ())]}
    )
    summary = ground_references(tiny, records[:1], boxes_of(photo), progress=False)
    ((_, maps),) = reference_maps(tiny, records[:1], progress=False)
    mass = maps.maps[0][:2, :, 0].sum(axis=1)  # of "a" and "dog", in the left of two columns
    peaks = maps.maps[0][:2].reshape(2, 4).argmax(axis=1) % 2 == 0
    animals = summary.by_type["animals"]
    assert (animals.phrases, summary.overall.phrases) == (1, 2)
    assert animals.map_scores["head"] == MapScores(pytest.approx(mass[1]), float(peaks[1]))
    assert animals.map_scores["best_word"] == MapScores(pytest.approx(mass.max()), float(peaks.max()))
    assert animals.map_scores["uniform"] == MapScores(0.5, 0.5)
    assert summary.overall.map_scores["head"].attention_correctness == pytest.approx((mass[1] + 1) / 2)


def test_phrases_that_cannot_be_measured_are_counted(tiny, records, monkeypatch):
    monkeypatch.setattr(measuring, "MAX_TRAINING_WORDS", 4)
    monkeypatch.setattr("training.data.dataset.MAX_TRAINING_WORDS", 4)
    inside, outside = ((0.4, 0.4, 0.6, 0.6),), ((0.0, 0.0, 0.1, 1.0),)  # the input is the middle 40 x 40
    assert tiny.model.config.fit == "crop"
    dog = photo_with_phrases({
        "a dog runs on the grass": [Phrase(0, 1, inside, ()), Phrase(4, 5, inside, ()), Phrase(2, 2, outside, ())],
    })  # fmt: skip
    child = photo_with_phrases({
        "a child with a zebra": [Phrase(0, 1, inside, ()), Phrase(3, 4, inside, ())],
        "zebra grass": [Phrase(0, 0, inside, ("animals",))],
        "grass": [],
    })  # fmt: skip
    ball = photo_with_phrases({"a dog": [Phrase(1, 1, inside, ())], "a ball": [Phrase(1, 1, inside, ())] * 2})
    box_set = BoxSet("boxes", {"0.png": dog, "1.png": child, "4.png": ball})
    zebra = replace(records[1], image_id=3, captions=("Zebra grass", "Grass"))
    broken = ImageRecord(4, records[0].path.with_name("4.png"), ("A dog", "A ball"), "test")
    summary = ground_references(tiny, [*records, zebra, broken], box_set, batch_size=2, progress=False)
    assert summary.counts == {
        "photos": 5,
        "photos without boxes": 1,
        "photos with boxed phrases that cannot be read": 1,
        "captions of photos with boxes": 8,
        "captions that are no sentence of the boxes": 1,  # "The red ball"
        "captions without a boxed phrase": 2,
        "boxed phrases": 9,
        "boxed phrases in photos that cannot be read": 3,
        measuring.TRUNCATED: 2,
        "boxed phrases whose boxes lie outside of what the model saw": 1,
        "boxed phrases measured": 3,
        "of these, with a head word that the captioner does not know": 1,
    }
    assert summary.overall.phrases == 3 and summary.by_type["animals"].phrases == 1


def test_boxes_without_sentences_are_matched_by_the_names_of_things(tiny, records):
    dog = Thing(frozenset({"dog", "dogs"}), (WHOLE,), ("animals",))
    summary = ground_references(tiny, records, boxes_of(PhotoBoxes({}, (dog,), has_sentences=False)), progress=False)
    assert summary.overall.phrases == 1 and summary.overall.map_scores["head"].attention_correctness == pytest.approx(1)


@pytest.mark.parametrize(
    ("box_set", "message"),
    [
        (
            BoxSet("other boxes", {"x.png": photo_with_phrases({})}),
            "other boxes .*3 photos, 3 photos without boxes.*split",
        ),
        (
            boxes_of(photo_with_phrases({"the red ball": []})),
            "1 captions that are no sentence of the boxes, 1 captions without",
        ),
    ],
)
def test_boxes_that_match_nothing_are_refused(tiny, records, box_set, message):
    with pytest.raises(DataError, match=message):
        ground_references(tiny, records, box_set, progress=False)


# --- maps of generated captions


def caption_of(text: str, alphas: list[np.ndarray], frame: ImageFrame) -> Caption:
    words = tuple(text.split())
    ones = np.ones(len(words))
    return Caption(text, words, tuple(range(len(words))), np.stack(alphas), ones, -ones, -1.0, -1.0, frame)


THINGS = (
    Thing(frozenset({"dog", "dogs"}), (LEFT_HALF,), ("animals",)),
    Thing(frozenset({"dog", "pet"}), ((0.0, 0.5, 1.0, 1.0),), ("animals", "pets")),
    Thing(frozenset({"fire hydrant"}), ((0.75, 0.0, 1.0, 0.25),), ("things",)),
    Thing(frozenset({"sky"}), ((0.0, 0.0, 0.1, 0.1),), ()),
)


def test_names_in_captions_are_measured_on_all_boxes_that_they_may_mean(records):
    box_set = boxes_of(PhotoBoxes({}, THINGS), PhotoBoxes({}, ()))
    frame = frame_of(60, 40)
    captions = {
        "id 0": caption_of("a dog by fire hydrant", [uniform(), uniform(), uniform(), peaked(0, 3), uniform()], frame),
        "id 1": caption_of("dog", [uniform()], frame),
        "id 2": caption_of("dog", [uniform()], frame),
    }
    summary = ground_captions(captions, records, box_set)
    assert summary.counts == {
        "captions made": 3,
        "captions made of photos without boxes": 1,
        "captions made that name no boxed thing": 1,
        "names of boxed things in captions made": 2,
        "names whose boxes lie outside of what the model saw": 0,
        "names measured": 2,
    }
    dog, hydrant = summary.by_type["animals"], summary.by_type["things"]
    assert summary.by_type["pets"].phrases == 1
    assert dog.map_scores["head"].attention_correctness == pytest.approx(0.75)  # left half and lower half, once
    assert hydrant.map_scores["head"].attention_correctness == pytest.approx(1 / 16)
    assert hydrant.map_scores["best_word"] == MapScores(1, 1)


def test_captions_without_a_visible_named_thing_are_counted_and_have_no_scores(records):
    frame = frame_of(400, 100, "crop")
    summary = ground_captions(
        {"id 0": caption_of("sky", [uniform()], frame)}, records, boxes_of(PhotoBoxes({}, THINGS))
    )
    assert summary.counts["names whose boxes lie outside of what the model saw"] == 1
    assert summary.overall.phrases == 0 and not summary.overall.map_scores


def test_outlines_are_the_boxes_of_named_words_in_pixels():
    caption = caption_of("a pet at fire hydrant", [uniform()] * 5, frame_of(60, 40, "crop"))
    hydrant = [(45, 0, 60, 10)]
    assert outlines_of(caption, PhotoBoxes({}, THINGS)) == {1: [(0, 20, 60, 40)], 3: hydrant, 4: hydrant}
    assert outlines_of(caption, PhotoBoxes({}, ())) == {}


# --- occlusion maps


def test_occlusion_maps_are_measured_beside_attention_on_the_same_photos(tiny, records, monkeypatch):
    """With maps that put everything into one corner, in place of the captioner's."""
    options = tiny.decoding
    captions = {record.image_id: tiny.caption([record.path], options)[0] for record in records}
    calls = []

    def corner(path, caption, with_options):
        calls.append((path, caption, with_options))
        maps = np.zeros_like(caption.alphas)
        maps[:, 0, 0] = 1
        return maps

    monkeypatch.setattr(tiny, "occlusion_maps", corner)
    names = frozenset(word for caption in captions.values() for word in caption.words)
    left_upper = Thing(names, ((0.0, 0.0, 0.5, 0.5),), ("animals",))
    photo = PhotoBoxes({}, (left_upper,), has_sentences=False)
    box_set = BoxSet("boxes", {record.path.name: photo for record in records[:2]})
    scores = ground_occlusion_maps(tiny, captions, records, box_set, options, max_photos=9, progress=False)
    assert scores.photos == 2  # the third has no boxes
    assert calls == [(record.path, captions[record.image_id], options) for record in records[:2]]
    assert scores.occlusion.overall.map_scores["head"] == MapScores(pytest.approx(1), 1.0)
    assert scores.attention == ground_captions(
        {r.image_id: captions[r.image_id] for r in records[:2]}, records, box_set
    )
    assert scores.attention.overall.phrases == scores.occlusion.overall.phrases > 0
    assert scores.attention.overall.map_scores["head"] != scores.occlusion.overall.map_scores["head"]
    assert ground_occlusion_maps(tiny, captions, records, box_set, options, max_photos=1, progress=False).photos == 1
