"""Heat maps lie at the attended locations, on photos of every shape."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from captioner import overlays
from captioner.errors import ConfigError, ImageError
from captioner.images.fitting import ImageFrame, _seen_box, fit_image
from captioner.images.photo import open_image
from captioner.overlays import _cached_axis, draw_overlays, heat_map, overlay, save_overlays, scaled_to
from tests.support.maps import FITS, argmax, caption_of, frame_of, peaked


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("smooth", [True, False])
def test_the_peak_lands_on_the_attended_pixel_of_a_rotated_photo(fit, smooth):
    """End to end: a camera held sideways, a mark in the photo, the square, the cell with the mark, the heat map."""
    upright = Image.new("RGB", (210, 330), (0, 0, 60))
    mark = (93, 186)
    upright.paste((255, 255, 255), (mark[0] - 6, mark[1] - 6, mark[0] + 6, mark[1] + 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    upright.transpose(Image.Transpose.ROTATE_90).save(stream, "JPEG", exif=exif)
    photo = open_image(stream.getvalue())
    square, frame = fit_image(photo, 140, fit)
    brightness = np.where(square.min(axis=2) > 180, 1.0, 0.0).reshape(14, 10, 14, 10).sum(axis=(1, 3))
    alpha = (brightness + 1e-3) / (brightness + 1e-3).sum()
    x, y = argmax(heat_map(alpha, frame, smooth=smooth))
    assert abs(x - mark[0]) <= 24 and abs(y - mark[1]) <= 24  # a cell is up to 330 / 14 = 24 pixels
    picture = overlay(Image.new("RGB", photo.size), alpha, frame, smooth=smooth, opacity=1.0, colour_map="gray")
    x, y = argmax(np.array(picture)[..., 0])
    assert abs(x - mark[0]) <= 24 and abs(y - mark[1]) <= 24


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(300, 200), (200, 300), (97, 61), (64, 64), (900, 30)])
def test_raw_cells_cover_their_share_of_the_seen_box(size, fit):
    frame = frame_of(*size, fit)
    alpha = np.arange(1.0, 21.0).reshape(4, 5)
    heat = heat_map(alpha, frame, smooth=False)
    left, top, right, bottom = frame.seen_box
    x = ((np.arange(size[0]) + 0.5) - left) / (right - left) * 5
    y = ((np.arange(size[1]) + 0.5) - top) / (bottom - top) * 4
    is_inside = ((y >= 0) & (y < 4))[:, None] & ((x >= 0) & (x < 5))[None, :]
    expected = alpha[np.clip(y.astype(int), 0, 3)[:, None], np.clip(x.astype(int), 0, 4)[None, :]] * is_inside
    np.testing.assert_allclose(heat / heat.max(), expected / expected.max(), rtol=1e-5)
    assert heat.dtype == np.float32 and heat.shape == (size[1], size[0])


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("grid", [(7, 7), (14, 14), (5, 9), (1, 1), (1, 4)])
def test_smooth_maps_keep_the_peak_in_its_cell_and_stay_in_range(fit, grid):
    frame = frame_of(150, 110, fit)
    left, top, right, bottom = frame.seen_box
    for seed in range(5):
        alpha = np.random.default_rng(seed).gamma(0.3, size=grid)
        row, column = np.unravel_index(alpha.argmax(), grid)
        heat = heat_map(alpha, frame)
        assert heat.min() >= 0 and heat.max() <= 1
        inside_x = left + np.array([column, column + 1]) / grid[1] * (right - left)
        inside_y = top + np.array([row, row + 1]) / grid[0] * (bottom - top)
        if 0 <= inside_x.mean() < 150 and 0 <= inside_y.mean() < 110:
            x, y = argmax(heat)
            assert heat.max() == 1 and inside_x[0] <= x <= inside_x[1] and inside_y[0] <= y <= inside_y[1]


def test_smooth_maps_pass_through_the_cells_and_do_not_jump():
    frame, alpha = frame_of(300, 300), np.random.default_rng(1).random((5, 5))
    heat = heat_map(alpha, frame)
    np.testing.assert_allclose(heat[30::60, 30::60], alpha / alpha.max(), atol=0.01)
    assert np.abs(np.diff(heat, axis=0)).max() < 0.05 and np.abs(np.diff(heat, axis=1)).max() < 0.05


@pytest.mark.parametrize("smooth", [True, False])
def test_pixels_outside_the_seen_box_have_no_heat(smooth):
    heat = heat_map(np.full((3, 3), 1 / 9), frame_of(300, 100, "crop"), smooth=smooth)
    assert (heat[:, :100] == 0).all() and (heat[:, 200:] == 0).all() and (heat[:, 100:200] == 1).all()


def test_attention_on_the_padding_does_not_heat_the_photo():
    heat = heat_map(peaked(0, 3), frame_of(700, 100, "pad"))
    assert heat.max() < 0.1


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (10000, 10), (10, 10000), (3, 2)])
def test_a_peak_thinner_than_a_pixel_is_not_lost(size, smooth):
    grid = (14, 14)
    for cell in [(0, 0), (6, 9), (13, 13)]:
        heat = heat_map(peaked(*cell, grid), frame_of(*size), smooth=smooth)
        x, y = argmax(heat)
        assert heat.max() == 1 and heat.shape == (size[1], size[0])
        assert abs(x - (cell[1] + 0.5) / 14 * size[0]) <= max(1, size[0] / 14)
        assert abs(y - (cell[0] + 0.5) / 14 * size[1]) <= max(1, size[1] / 14)


def test_a_thin_peak_wins_over_a_broad_plateau():
    alpha = np.full((40, 1), 1e-3)
    alpha[5], alpha[20:28] = 1.0, 0.7
    for smooth in (True, False):
        assert argmax(heat_map(alpha, frame_of(10, 10), smooth=smooth))[1] == 1.5


def test_another_size_shows_the_same_map():
    frame = frame_of(400, 200, "crop")
    large, small = heat_map(peaked(2, 5), frame), heat_map(peaked(2, 5), frame, size=(80, 40))
    assert small.shape == (40, 80)
    np.testing.assert_allclose(np.array(argmax(small)) * 5, argmax(large), atol=5)


def test_an_empty_map_has_no_heat_and_an_invalid_one_is_refused():
    frame = frame_of(20, 10)
    assert (heat_map(np.zeros((3, 3)), frame) == 0).all()
    for wrong in (np.zeros(9), np.zeros((0, 3)), np.full((3, 3), np.nan), np.full((3, 3), -1.0)):
        with pytest.raises(ConfigError, match="attention map"):
            heat_map(wrong, frame)
    with pytest.raises(ConfigError, match="1 x 1"):
        heat_map(np.ones((3, 3)), frame, size=(0, 5))


@pytest.mark.parametrize("fit", FITS)
def test_the_photo_is_unchanged_at_locations_without_attention(photo, fit):
    alpha = np.zeros((7, 7))
    alpha[3, 3] = 1.0
    frame = fit_image(photo, 14, fit)[1]
    changed = np.abs(np.array(overlay(photo, alpha, frame)).astype(int) - np.array(photo)).max(axis=2)
    assert changed[heat_map(alpha, frame) == 0].max() == 0
    assert changed[heat_map(alpha, frame) > 0.9].min() > 10


def test_opacity_and_colour_maps_are_applied_and_checked(photo):
    frame, alpha = fit_image(photo, 14, "squash")[1], peaked(3, 3)
    assert overlay(photo, alpha, frame, opacity=0.0).tobytes() == photo.tobytes()
    solid = np.array(overlay(photo, np.ones((2, 2)), frame, opacity=1.0, colour_map="gray"))
    assert (solid == 255).all()
    with pytest.raises(ConfigError, match="'rainbows'.*inferno"):
        overlay(photo, alpha, frame, colour_map="rainbows")
    with pytest.raises(ConfigError, match="opacity"):
        overlay(photo, alpha, frame, opacity=1.5)


def test_a_photo_other_than_the_captioned_one_is_refused(photo):
    frame = fit_image(photo, 14, "crop")[1]
    with pytest.raises(ImageError, match="90 x 140 and the captioned one was 140 x 90"):
        overlay(photo.transpose(Image.Transpose.ROTATE_90), peaked(1, 1), frame)
    with pytest.raises(ImageError, match="open_image"):
        overlay(photo.convert("L"), peaked(1, 1), frame)
    assert overlay(photo.resize((47, 30)), peaked(1, 1), frame).size == (47, 30)
    assert overlay(photo, peaked(1, 1), frame, size=(280, 180)).size == (280, 180)


@pytest.mark.parametrize("smooth", [True, False])
def test_a_large_photo_is_drawn_from_a_smaller_heat_map(photo, smooth, monkeypatch):
    frame = fit_image(photo, 14, "pad")[1]
    exact = np.array(overlay(photo, peaked(3, 4), frame, smooth)).astype(int)
    sizes = []
    monkeypatch.setattr(overlays, "MAX_HEAT_SIDE", 70)
    heat = overlays._heat
    monkeypatch.setattr(overlays, "_heat", lambda *args, **more: sizes.append(args[2]) or heat(*args, **more))
    small = np.array(overlay(photo, peaked(3, 4), frame, smooth)).astype(int)
    assert sizes == [(70, 45)] and small.shape == exact.shape
    assert np.abs(small - exact).mean() < 2


def test_several_overlays_are_those_of_each_map(photo):
    frame = fit_image(photo, 14, "squash")[1]
    alphas = np.random.default_rng(0).random((7, 4, 4), np.float32)
    for found, alpha in zip(draw_overlays(photo, alphas, frame, smooth=False), alphas, strict=True):
        np.testing.assert_array_equal(np.asarray(found), np.asarray(overlay(photo, alpha, frame, smooth=False)))
    with pytest.raises(ConfigError, match="attention map"):
        draw_overlays(photo, [*alphas, np.ones(3)], frame)


def test_an_overlay_is_saved_for_each_word_under_a_safe_name(photo, tmp_path):
    caption = caption_of("a ../etc собака " + "w" * 300, fit_image(photo, 14, "crop")[1])
    folder = tmp_path / "new" / "folder"
    paths = save_overlays(photo, caption, folder)
    names = [path.name for path in paths]
    assert names[:3] == ["01-a.png", "02-___etc.png", "03-собака.png"]
    assert len(names[3]) < 100 and sorted(folder.iterdir()) == sorted(paths)
    for path, alpha in zip(paths, caption.alphas, strict=True):
        assert open_image(path).tobytes() == overlay(photo, alpha, caption.frame).tobytes()


def test_large_photos_are_saved_at_a_smaller_size(photo, tmp_path, monkeypatch):
    monkeypatch.setattr(overlays, "MAX_SAVED_SIDE", 70)
    paths = save_overlays(photo, caption_of("dog", fit_image(photo, 14, "crop")[1]), tmp_path)
    assert open_image(paths[0]).size == (70, 45)


def test_a_folder_that_cannot_be_written_is_named(photo, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="file"):
        save_overlays(photo, caption_of("dog", fit_image(photo, 14, "crop")[1]), tmp_path / "file")


def test_overlays_of_other_maps_are_saved(photo, tmp_path):
    caption = caption_of("a dog", fit_image(photo, 14, "crop")[1])
    maps = np.stack([peaked(0, 0, (5, 5)), peaked(4, 4, (5, 5))])
    for path, alpha in zip(save_overlays(photo, caption, tmp_path, maps=maps), maps, strict=True):
        assert open_image(path).tobytes() == overlay(photo, alpha, caption.frame).tobytes()


@pytest.mark.parametrize("size", [(10000, 10), (10, 10000), (1, 1)])
@pytest.mark.parametrize("fit", FITS)
def test_photos_of_extreme_aspect_ratios_keep_their_size(size, fit):
    photo = Image.new("RGB", size, (90, 120, 150))
    assert overlay(photo, peaked(2, 3, (5, 5)), frame_of(*size, fit)).size == size


@pytest.mark.parametrize("smooth", [True, False])
def test_empty_and_faint_maps_are_drawn(photo, smooth):
    frame = fit_image(photo, 14, "squash")[1]
    assert overlay(photo, np.zeros((5, 5)), frame, smooth).tobytes() == photo.tobytes()
    map_ = peaked(1, 2, (5, 5)).astype(np.float32)
    faint = overlay(photo, map_ * np.float32(1e-36), frame, smooth)
    np.testing.assert_allclose(np.asarray(faint, int), np.asarray(overlay(photo, map_, frame, smooth), int), atol=1)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(2_000_000, 1), (1, 2_000_000)])
def test_memory_depends_on_the_drawn_size_and_not_on_the_aspect_ratio(size, fit, smooth):
    frame = ImageFrame(*size, _seen_box(*size, fit))
    scaled = Image.new("RGB", scaled_to(size, 1024))
    overlay(scaled, peaked(1, 0, (2, 2)), frame, smooth)  # load everything that is loaded once
    _cached_axis.cache_clear()
    tracemalloc.start()
    try:
        picture = overlay(scaled, peaked(0, 1, (2, 2)), frame, smooth)
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert picture.size == scaled.size
    assert peak < 500_000 and current < 100_000


def test_long_axes_are_not_cached():
    _cached_axis.cache_clear()
    frame = frame_of(50_000, 2)
    heat_map(peaked(1, 1), frame)
    assert _cached_axis.cache_info().currsize == 1  # the short one
    cache_size = _cached_axis.cache_parameters()["maxsize"]
    for height in range(1, cache_size + 20):
        heat_map(peaked(1, 1), frame_of(3, height))
    assert _cached_axis.cache_info().currsize == cache_size
    longest = _cached_axis(4096, 4096, 0.0, 4096.0, 37, True)
    assert cache_size * (longest.blend.nbytes + longest.starts.nbytes) < 4_000_000


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("size", [(300, 7), (7, 300), (61, 40)])
@pytest.mark.parametrize("fit", FITS)
def test_each_pixel_takes_the_maximum_of_its_samples(size, fit, smooth):
    """Every sample of a coarse picture, computed directly, also where only some of a pixel's samples lie in a cell."""
    frame, alpha = frame_of(*size, fit), np.random.default_rng(2).random((5, 9))
    axes = []
    for pixels, length, (start, end), cells in (
        (4, frame.height, frame.seen_box[1::2], 5),
        (6, frame.width, frame.seen_box[::2], 9),
    ):
        share = max(1, int(np.ceil(4 * length / pixels * cells / (end - start))))
        share = share if length / pixels * cells / (end - start) > 0.5 else 1
        position = (np.arange(pixels * share) + 0.5) / share * length / pixels
        axes.append(((position - start) / (end - start) * cells, share))
    (y, tall), (x, broad) = axes
    first, blend = [], []
    for position, cells in ((y, 5), (x, 9)):
        centre = np.clip(position - 0.5, 0, cells - 1) if smooth else np.clip(np.floor(position), 0, cells - 1)
        first.append(np.minimum(centre.astype(int), cells - 2))
        share = centre - first[-1]
        blend.append(share * share * (3 - 2 * share))
    rows = alpha[first[0]] + blend[0][:, None] * (alpha[first[0] + 1] - alpha[first[0]])
    both = rows[:, first[1]] + blend[1] * (rows[:, first[1] + 1] - rows[:, first[1]])
    both *= ((y >= 0) & (y < 5))[:, None] & ((x >= 0) & (x < 9))
    expected = both.reshape(4, tall, 6, broad).max(axis=(1, 3))
    heat = heat_map(alpha, frame, size=(6, 4), smooth=smooth)
    np.testing.assert_allclose(heat / heat.max(), expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_maps_is_not_saved(photo, tmp_path, count):
    caption = caption_of("a dog", fit_image(photo, 14, "crop")[1])
    with pytest.raises(ConfigError, match=f"^{count} maps? cannot be drawn for 2 words"):
        save_overlays(photo, caption, tmp_path / "new", maps=np.ones((count, 5, 5)))
    assert not (tmp_path / "new").exists()
