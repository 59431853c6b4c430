"""The curves of one captioner in this process: each size is measured, and the table and the plot show it."""

import pytest

from benchmarks.growth import batch_size, beam_width, locations, photo_size, plots
from benchmarks.growth.photo_size import enlarged
from captioner.images.photo import open_image
from tests.support.benchmark_results import check_curve

SIZES = {
    beam_width: [1, 2, 3],
    batch_size: [1, 2, 3],
    locations: [16, 36, 64],
    photo_size: [0.02, 0.05, 0.2],
}


@pytest.mark.parametrize("section", SIZES, ids=lambda section: section.__name__.rpartition(".")[2])
def test_every_size_is_measured_and_plotted(shipped, section, tmp_path):
    results = section.measure(shipped, quick=True)
    check_curve(section, results, SIZES[section])
    plots.draw(section.curve(results), section.TITLE, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_the_time_of_a_photo_is_its_share_of_the_batch(shipped):
    results = batch_size.measure(shipped, quick=True)
    for point, per_photo in zip(results.curve.points, results.per_photo, strict=True):
        assert per_photo.median * point.x == pytest.approx(point.y.median)


def test_captioners_of_several_sizes_leave_the_given_one_unchanged(shipped):
    side = shipped.bundle.config.image_size
    assert [each.bundle.config.image_size for each in locations.of_sizes(shipped, (64, 96))] == [64, 96]
    assert shipped.bundle.config.image_size == side


def test_photos_have_the_wanted_size_and_the_bytes_of_a_camera():
    from benchmarks.examples import example_photos

    (example,) = example_photos(1)
    for photo, megapixels in zip(enlarged(example, (0.2, 2)), (0.2, 2), strict=True):
        width, height = open_image(photo).size
        assert width * height / 1e6 == pytest.approx(megapixels, rel=0.05)
        assert width % 8 == height % 8 == 0
        assert 0.1 < len(photo) / (width * height) < 1, "bytes per pixel"
