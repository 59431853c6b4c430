"""The coverage of cells by boxes is exact, for every fit of the photo."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from captioner.images.fitting import ImageFrame, fit_image
from captioner.images.photo import open_image
from training.data.boxes.regions import centre_in_boxes, centres_inside, coverage, union_area

FITS = ["squash", "crop", "pad"]
WHOLE = (0.0, 0.0, 1.0, 1.0)


def frame_of(width: int, height: int, fit: str = "squash") -> ImageFrame:
    return fit_image(Image.new("RGB", (width, height)), 8, fit)[1]


def random_boxes(seed: int, count: int) -> list[tuple[float, float, float, float]]:
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.uniform(size=(2, count, 2)), axis=0)
    return [(*start, *end) for start, end in zip(low.tolist(), high.tolist(), strict=True)]


def test_a_box_covers_whole_cells_and_shares_of_cells():
    covered = coverage([(0.25, 0.5, 0.875, 1.0)], frame_of(300, 100), (2, 4))
    np.testing.assert_array_equal(covered, [[0, 0, 0, 0], [0, 1, 1, 0.5]])
    assert covered.dtype == np.float32
    np.testing.assert_array_equal(coverage([(0.125, 0.25, 0.25, 0.5)], frame_of(300, 100), (1, 1)), [[0.03125]])


def test_overlapping_boxes_count_once():
    frame = frame_of(64, 64)
    first, second = (0.0, 0.0, 0.75, 0.5), (0.25, 0.0, 1.0, 0.5)
    np.testing.assert_array_equal(coverage([first, second], frame, (2, 2)), [[1, 1], [0, 0]])
    np.testing.assert_array_equal(coverage([first, first], frame, (2, 2)), coverage([first], frame, (2, 2)))
    # Two boxes that overlap in a corner of one cell: 1/4 + 1/4 - 1/16.
    crossing = [(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)]
    np.testing.assert_array_equal(coverage(crossing, frame, (1, 1)), [[0.4375]])


def test_no_boxes_cover_nothing():
    assert not coverage([], frame_of(30, 20), (2, 3)).any()
    assert not centres_inside([], frame_of(30, 20), (2, 3)).any()


def test_with_a_crop_only_the_visible_part_counts():
    frame = frame_of(400, 100, "crop")  # pixels 150 to 250 are visible
    np.testing.assert_array_equal(coverage([(0.0, 0.0, 0.5, 1.0)], frame, (1, 4)), [[1, 1, 0, 0]])
    assert not coverage([(0.0, 0.0, 0.3, 1.0), (0.7, 0.0, 1.0, 1.0)], frame, (4, 4)).any()


def test_padding_is_in_no_box():
    frame = frame_of(100, 400, "pad")  # in the middle of 400 x 400: 150 pixels of padding on either side
    expected = np.broadcast_to([0, 0.5, 0.5, 0], (4, 4))
    np.testing.assert_array_equal(coverage([WHOLE], frame, (4, 4)), expected)


@pytest.mark.parametrize("size", [(120, 80), (80, 120), (97, 61), (300, 20)])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_coverage_equals_counting_on_a_fine_grid(size, fit, count):
    frame, grid, fine = frame_of(*size, fit), (5, 7), 60
    boxes = [(0.13, 0.21, 0.52, 0.84), *random_boxes(count, count - 1)]
    left, top, right, bottom = frame.seen_box
    x = (left + (np.arange(grid[1] * fine) + 0.5) / (grid[1] * fine) * (right - left)) / size[0]
    y = (top + (np.arange(grid[0] * fine) + 0.5) / (grid[0] * fine) * (bottom - top)) / size[1]
    inside = np.zeros((len(y), len(x)), bool)
    for box in boxes:
        inside |= ((box[1] <= y) & (y < box[3]))[:, None] & ((box[0] <= x) & (x < box[2]))[None, :]
    expected = inside.reshape(grid[0], fine, grid[1], fine).mean(axis=(1, 3))
    assert expected.any()
    np.testing.assert_allclose(coverage(boxes, frame, grid), expected, atol=count / fine)
    np.testing.assert_allclose(coverage(boxes, frame, grid).mean(), inside.mean(), atol=0.01)


@pytest.mark.parametrize("fit", FITS)
def test_coverage_equals_the_visible_part_of_a_box_in_a_rotated_photo(fit):
    """End to end: a camera held sideways, a white box in the photo, the square, the bright cells."""
    upright = Image.new("RGB", (210, 330))
    box = (31 / 210, 150 / 330, 120 / 210, 290 / 330)
    ImageDraw.Draw(upright).rectangle((31, 150, 119, 289), fill=(255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "PNG", exif=exif)
    square, frame = fit_image(open_image(stream.getvalue()), 280, fit)
    bright = (square.min(axis=2) > 127).reshape(7, 40, 7, 40).mean(axis=(1, 3))
    np.testing.assert_allclose(coverage([box], frame, (7, 7)), bright, atol=0.03)


@pytest.mark.parametrize("fit", FITS)
def test_a_mirrored_photo_has_mirrored_regions(fit):
    frame, boxes = frame_of(150, 90, fit), random_boxes(3, 3)
    mirrored = [(1 - right, top, 1 - left, bottom) for left, top, right, bottom in boxes]
    np.testing.assert_allclose(coverage(mirrored, frame, (6, 5)), coverage(boxes, frame, (6, 5))[:, ::-1], atol=1e-6)
    np.testing.assert_array_equal(
        centres_inside(mirrored, frame, (6, 5)), centres_inside(boxes, frame, (6, 5))[:, ::-1]
    )


def test_a_cell_is_inside_if_its_centre_is():
    frame, grid = frame_of(300, 100), (2, 4)  # centres at 1/8, 3/8, ... across, 1/4 and 3/4 down
    inside = centres_inside([(0.3, 0.0, 0.7, 0.3), (0.8, 0.7, 0.9, 0.8)], frame, grid)
    np.testing.assert_array_equal(inside, [[0, 1, 1, 0], [0, 0, 0, 1]])
    assert centres_inside([(0.125, 0.25, 0.2, 0.3)], frame, grid)[0, 0]  # exactly on the corner
    assert not centres_inside([(0.126, 0.0, 0.3, 1.0)], frame, grid).any()  # half of the cells, no centre
    boxes = [(0.3, 0.0, 0.7, 0.3)]
    assert centre_in_boxes((0, 1), boxes, frame, grid) is True
    assert centre_in_boxes((1, 1), boxes, frame, grid) is False


def test_centres_follow_the_crop_or_the_padding():
    right_half = [(0.5, 0.0, 1.0, 1.0)]
    crop = frame_of(400, 100, "crop")
    np.testing.assert_array_equal(centres_inside(right_half, crop, (1, 4)), [[0, 0, 1, 1]])
    pad = frame_of(100, 400, "pad")  # the photo lies between 3/8 and 5/8 of the square
    np.testing.assert_array_equal(centres_inside([WHOLE], pad, (1, 8)), [[0, 0, 0, 1, 1, 0, 0, 0]])
    np.testing.assert_array_equal(centres_inside(right_half, pad, (1, 8)), [[0, 0, 0, 0, 1, 0, 0, 0]])


def test_the_area_of_boxes_is_a_share_of_the_photo():
    assert union_area([WHOLE]) == 1
    assert union_area([(0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75)]) == 0.4375
    assert union_area([(0.0, 0.0, 0.25, 0.25)]) == 1 / 16
