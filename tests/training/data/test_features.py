"""The feature cache returns the encoder's output for every photo, after any interruption."""

import dataclasses
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from captioner.errors import ImageError
from captioner.model import runtime
from captioner.model.encoders import Encoder, TwoScales, encoder_spec
from training.data import features
from training.data.features import (
    FeatureCache,
    FeatureView,
    LastMaps,
    annotations_from,
    batch_encoder,
    encode,
    fill_cache,
    open_cache,
)

WHOLE = FeatureView(None)


def noise_photo(path, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    Image.fromarray(pixels).resize((64, 64), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    return [noise_photo(tmp_path / f"{number}.png", number) for number in range(5)]


@pytest.fixture
def encoder(three_stages_config):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Encoder(encoder_spec(three_stages_config.encoder)).requires_grad_(False)


@pytest.fixture
def open_it(tmp_path, encoder, three_stages_config):
    return lambda view=WHOLE: open_cache(tmp_path / "cache", encoder, "sha", three_stages_config, view)


def pixels_of(paths):
    return torch.from_numpy(np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]))


def close(rows, exact):
    """Return whether rows are equal up to bf16 precision, far closer than those of two photos."""
    rows, exact = torch.as_tensor(np.asarray(rows)).float(), exact.float()
    assert rows.shape == exact.shape
    error = (rows - exact).abs().max() / exact.abs().max()
    assert error < 0.03, error
    return True


def test_a_row_equals_the_encoders_output_for_its_photo(open_it, encoder, three_stages_config, photos):
    cache = open_it()
    assert fill_cache(cache, encoder, three_stages_config, WHOLE, photos, "photos") == []
    exact = encoder(pixels_of(photos))  # [5, 4, 4, 16]
    distances = [(exact[i] - exact[j]).abs().max() / exact.abs().max() for i in range(5) for j in range(i)]
    assert min(distances) > 0.1
    assert close(cache.read(photos), exact)
    assert close(open_it().read(photos[::-1]), exact.flip(0))


def test_features_after_some_stages_become_the_annotations_after_all(encoder, photos):
    pixels = pixels_of(photos).numpy()
    exact = encoder(pixels_of(photos))
    for stages, shape in [(0, (3, 64, 64)), (1, (8, 16, 16)), (2, (12, 8, 8)), (3, (16, 4, 4))]:
        rows = encode(encoder, pixels, FeatureView(stages))
        assert rows.dtype == np.float16 and rows.shape == (5, *shape)
        assert close(annotations_from(encoder, torch.from_numpy(rows).float(), stages), exact)


def test_the_mirrored_view_is_of_the_mirror_image(open_it, encoder, three_stages_config, photos, tmp_path):
    view = FeatureView(None, mirrored=True)
    cache = open_it(view)
    fill_cache(cache, encoder, three_stages_config, view, photos, "mirror images")
    turned = []
    for photo in photos:
        turned.append(tmp_path / f"turned-{photo.name}")
        ImageOps.mirror(Image.open(photo)).save(turned[-1])
    plain = open_it()
    fill_cache(plain, encoder, three_stages_config, WHOLE, turned, "photos")
    assert np.array_equal(cache.read(photos), plain.read(turned))


def test_every_setting_that_changes_the_features_has_its_own_cache(tmp_path, encoder, three_stages_config):
    other_encoder = Encoder(encoder_spec("timm:test_efficientnet.r160_in1k"))
    config, change = three_stages_config, dataclasses.replace
    kinds = [
        (encoder, "sha", config, WHOLE),
        (encoder, "other sha", config, WHOLE),
        (encoder, "sha", change(config, image_size=96), WHOLE),
        (encoder, "sha", change(config, fit="crop"), WHOLE),
        (encoder, "sha", config, FeatureView(3)),
        (encoder, "sha", config, FeatureView(2)),
        (encoder, "sha", config, FeatureView(None, mirrored=True)),
        (other_encoder, "sha", change(config, encoder=other_encoder.spec.name), WHOLE),
    ]
    folders = [open_cache(tmp_path / "cache", *kind).folder for kind in kinds]
    assert len(set(folders)) == len(kinds)
    # Settings of the layers above do not change the features.
    same_cache = open_cache(tmp_path / "cache", encoder, "sha", change(config, hidden_dim=99, dropout=0.0), WHOLE)
    assert same_cache.folder == folders[0]


def test_each_precision_has_its_own_cache(open_it, monkeypatch):
    folders = set()
    for multiplies in (True, False, True):
        monkeypatch.setattr(features, "multiplies_bfloat16", lambda device, answer=multiplies: answer)
        folders.add(open_it().folder)
    assert len(folders) == 2


def test_the_size_of_a_photo_is_stored(open_it, encoder, three_stages_config, photos, tmp_path):
    wide = tmp_path / "wide.jpg"
    turned = Image.new("RGB", (30, 90))
    exif = turned.getexif()
    exif[0x0112] = 6  # upright, it is 90 x 30
    turned.save(wide, exif=exif)
    fill_cache(open_it(), encoder, three_stages_config, WHOLE, [wide, *photos], "photos")
    again = open_it()
    assert wide in again
    frame = again.frame(wide, "crop")
    assert (frame.width, frame.height, frame.seen_box) == (90, 30, (30.0, 0.0, 60.0, 30.0))


@pytest.mark.parametrize("view", [WHOLE, FeatureView(2), FeatureView(2, mirrored=True)])
def test_many_photos_are_encoded_by_a_faster_network_that_computes_the_same(
    encoder, three_stages_config, photos, monkeypatch, view
):
    monkeypatch.setattr(features, "multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(runtime, "multiplies_bfloat16", lambda device: False)
    pixels = pixels_of(photos).numpy()
    exact = encode(encoder, pixels, view)
    monkeypatch.setattr(features, "encode", lambda *_: pytest.fail("ran torch"))
    rows = batch_encoder(encoder, three_stages_config, view, 100)(pixels)
    assert rows.dtype == np.float16 and rows.shape == exact.shape
    np.testing.assert_allclose(rows, exact, rtol=0, atol=2e-3 * np.abs(exact).max())


def test_few_photos_are_encoded_by_torch(encoder, three_stages_config, photos, monkeypatch):
    monkeypatch.setattr(features, "fast_encoder", lambda *_: pytest.fail("prepared a network for 99 photos"))
    pixels = pixels_of(photos).numpy()
    rows = batch_encoder(encoder, three_stages_config, WHOLE, 99)(pixels)
    np.testing.assert_array_equal(rows, encode(encoder, pixels, WHOLE))


def test_only_new_and_changed_photos_are_encoded(open_it, encoder, three_stages_config, photos, monkeypatch):
    opened_photos = []
    monkeypatch.setattr(features, "open_image", lambda photo: opened_photos.append(photo) or original(photo))
    from captioner.images.photo import open_image as original

    fill_cache(open_it(), encoder, three_stages_config, WHOLE, photos[:4], "photos")
    assert opened_photos == photos[:4]
    opened_photos.clear()
    noise_photo(photos[1], seed=77)
    os.utime(photos[1], ns=(1, 1))
    cache = open_it()
    fill_cache(cache, encoder, three_stages_config, WHOLE, [*photos, photos[4]], "photos")
    assert opened_photos == [photos[1], photos[4]]
    assert close(cache.read(photos), encoder(pixels_of(photos)))


def test_a_cached_photo_is_no_longer_needed(open_it, encoder, three_stages_config, photos):
    fill_cache(open_it(), encoder, three_stages_config, WHOLE, photos, "photos")
    cache = open_it()
    assert all(photo in cache for photo in photos)
    exact = encoder(pixels_of(photos))
    for photo in photos:
        photo.unlink()
    assert close(cache.read(photos), exact)
    assert photos[0] not in cache


def test_two_names_of_one_photo_do_not_shift_other_rows(open_it, encoder, three_stages_config, photos, tmp_path):
    link = tmp_path / "link.png"
    link.symlink_to(photos[0])
    names = [photos[0], link, *photos[1:4]]
    cache = open_it()
    fill_cache(cache, encoder, three_stages_config, WHOLE, names, "photos")
    exact = encoder(pixels_of([*names, photos[4]]))
    assert close(cache.read(names), exact[:5])
    again = open_it()
    fill_cache(again, encoder, three_stages_config, WHOLE, [photos[4]], "photos")
    assert close(again.read([*names, photos[4]]), exact)


@pytest.mark.parametrize(
    ("row_count", "line_count"),
    [(4.5, 4), (5, 4), (5, 4.5), (5, 2.5), (3.5, 5), (3, 3), (2.2, 3.7), (0, 5), (5, 0), (0.3, 0)],
)
def test_a_killed_fill_leaves_no_wrong_rows(open_it, encoder, three_stages_config, photos, row_count, line_count):
    cache = open_it()
    fill_cache(cache, encoder, three_stages_config, WHOLE, photos, "photos")
    rows, index = cache.folder / "rows.bin", cache.folder / "index.jsonl"
    os.truncate(rows, int(rows.stat().st_size / 5 * row_count))
    lines = index.read_bytes().splitlines(keepends=True)
    complete_lines = int(line_count)
    partial_line = lines[complete_lines][: len(lines[complete_lines]) // 2] if complete_lines < line_count else b""
    index.write_bytes(b"".join(lines[:complete_lines]) + partial_line)

    exact = encoder(pixels_of(photos))
    cache = open_it()
    cached = [photo for photo in photos if photo in cache]
    assert cached == photos[: int(min(row_count, line_count))]
    assert not cached or close(cache.read(cached), exact[: len(cached)])
    fill_cache(cache, encoder, three_stages_config, WHOLE, photos[::-1], "photos")
    assert close(cache.read(photos), exact)
    assert close(open_it().read(photos), exact)


def test_unreadable_photos_are_reported_and_left_out(open_it, encoder, three_stages_config, photos, monkeypatch):
    monkeypatch.setattr(features, "ENCODE_BATCH", 2)
    photos[0].write_bytes(b"no photo")
    photos[2].write_bytes(b"")  # photos 2 and 3: nothing is left of their batch
    photos[3].unlink()
    cache = open_it()
    unreadable = fill_cache(cache, encoder, three_stages_config, WHOLE, photos, "photos")
    assert all(isinstance(error, ImageError) for error in unreadable)
    assert [name for name in "01234" if any(f"{name}.png" in str(error) for error in unreadable)] == ["0", "2", "3"]
    readable = [photos[1], photos[4]]
    assert [photo for photo in photos if photo in cache] == readable
    assert close(cache.read(readable), encoder(pixels_of(readable)))


def test_reading_a_missing_row_is_an_error(tmp_path, photos):
    cache = FeatureCache(tmp_path / "cache", (2,))
    cache.append(photos[:1], np.ones((1, 2)))
    with pytest.raises(KeyError):
        cache.read(photos[1:2])


def test_two_runs_that_share_a_cache_read_their_own_rows(tmp_path):
    photos = [tmp_path / f"{name}.jpg" for name in "abcd"]
    for photo in photos:
        photo.write_bytes(photo.name.encode())
    first, second = FeatureCache(tmp_path / "cache", [2]), FeatureCache(tmp_path / "cache", [2])
    first.append(photos[:1], np.full((1, 2), 1))
    second.append(photos[1:3], np.array([[2, 2], [3, 3]]))
    first.append(photos[3:], np.full((1, 2), 4))
    assert first.read(photos)[:, 0].tolist() == [1, 2, 3, 4]
    assert FeatureCache(tmp_path / "cache", [2]).read(photos)[:, 0].tolist() == [1, 2, 3, 4]


def numbered(folder, count):
    photos = [folder / f"{number}.jpg" for number in range(count)]
    for photo in photos:
        photo.write_bytes(photo.name.encode())
    return photos, np.arange(2 * count).reshape(count, 2)


def test_rows_are_stored_in_shards_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_BYTES", 13)  # three rows of 4 bytes
    photos, rows = numbered(tmp_path, 11)
    cache = FeatureCache(tmp_path / "cache", [2])
    for first, last in [(0, 2), (2, 9), (9, 10), (10, 11)]:  # within a shard, over several, to the end of one
        cache.append(photos[first:last], rows[first:last])
        assert np.array_equal(cache.read(photos[:last][::-1]), rows[:last][::-1])
    sizes = {path.name: path.stat().st_size for path in cache.folder.glob("rows*")}
    assert sizes == {"rows.bin": 12, "rows-1.bin": 12, "rows-2.bin": 12, "rows-3.bin": 8}
    again = FeatureCache(tmp_path / "cache", [2])
    assert all(photo in again for photo in photos) and np.array_equal(again.read(photos), rows)


def test_a_growing_cache_keeps_its_mapped_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "SHARD_BYTES", 12)
    photos, rows = numbered(tmp_path, 9)
    cache = FeatureCache(tmp_path / "cache", [2])
    mapped = []
    monkeypatch.setattr(
        features.np, "memmap", lambda path, *rest, original=np.memmap, **shape: (
            mapped.append(path.name) or original(path, *rest, **shape)
        ),
    )  # fmt: skip
    for number in range(9):
        cache.append(photos[number : number + 1], rows[number : number + 1])
        assert cache.read(photos[:1])[0].tolist() == [0, 1]
    assert mapped == ["rows.bin"]
    assert np.array_equal(cache.read(photos), rows)
    assert mapped == ["rows.bin", "rows.bin", "rows-1.bin", "rows-2.bin"]


def test_a_cache_without_shards_is_read_and_continued_in_shards(tmp_path, monkeypatch):
    photos, rows = numbered(tmp_path, 8)
    FeatureCache(tmp_path / "cache", [2]).append(photos[:5], rows[:5])  # all in one file, as earlier versions wrote it
    monkeypatch.setattr(features, "SHARD_BYTES", 8)  # two rows
    cache = FeatureCache(tmp_path / "cache", [2])
    assert np.array_equal(cache.read(photos[:5]), rows[:5])
    cache.append(photos[5:], rows[5:])
    sizes = {path.name: path.stat().st_size for path in cache.folder.glob("rows*")}
    assert sizes == {"rows.bin": 20, "rows-1.bin": 8, "rows-2.bin": 4}
    assert np.array_equal(FeatureCache(tmp_path / "cache", [2]).read(photos), rows)


def test_incomplete_rows_of_another_run_shift_no_rows(tmp_path):
    photos, rows = numbered(tmp_path, 3)
    cache = FeatureCache(tmp_path / "cache", [2])
    cache.append(photos[:1], rows[:1])
    with open(cache.folder / "rows.bin", "ab") as file:  # a run that shares the cache was killed
        file.write(b"\1\2\3\4\5\6")
    with open(cache.folder / "index.jsonl", "ab") as file:
        file.write(b'"half a ')
    cache.append(photos[1:], rows[1:])
    assert np.array_equal(cache.read(photos), rows)
    assert np.array_equal(FeatureCache(tmp_path / "cache", [2]).read(photos), rows)


class Halving:
    """Stands in for an encoder with two scales, whose last map has half the side of the finer one."""

    spec = SimpleNamespace(finer_stages=3)

    def __init__(self):
        self.encoded = 0

    def two_scales(self, finer, stages):
        self.encoded += len(finer)
        return TwoScales(torch.nn.functional.avg_pool2d(finer, 2), finer)


def maps_of(last_maps, encoder, finer, photos, stages=3):
    maps = last_maps.two_scales(encoder, finer[photos], stages, tuple(photos))
    torch.testing.assert_close(maps.annotations(), Halving().two_scales(finer[photos], 3).annotations())
    return maps


def test_the_last_map_of_a_photo_is_computed_once():
    finer = torch.randint(-8, 8, (5, 2, 4, 4)).float()  # whose means are exact in 16 bits
    last_maps, encoder = LastMaps(5), Halving()
    for photos in ([3, 0], [0, 1, 3], [4, 2], [2, 1, 0, 3, 4], []):
        maps_of(last_maps, encoder, finer, photos)
    assert encoder.encoded == 5


@pytest.mark.parametrize(("photos", "stages"), [(None, 3), (features.MOST_LAST_MAPS + 1, 3), (5, 2)])
def test_last_maps_are_computed_each_time_for_mirror_images_many_photos_or_earlier_stages(photos, stages):
    finer = torch.randint(-8, 8, (2, 2, 4, 4)).float()
    last_maps, encoder = LastMaps(photos), Halving()
    for _ in range(2):
        maps_of(last_maps, encoder, finer, [0, 1], stages)
    assert encoder.encoded == 4
