"""Photos of any source become captions, the same alone and in a batch."""

import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import captioner
from captioner.bundle.bundle import save_bundle
from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.errors import ConfigError, ImageError
from captioner.images.photo import open_image


def photo(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def tiny(tiny_bundle) -> Captioner:
    return Captioner(tiny_bundle, "cpu")


def assert_same(first, second) -> None:
    assert (first.text, first.tokens, first.frame) == (second.text, second.tokens, second.frame)
    for name in ("alphas", "gates", "word_log_probs", "log_prob", "score"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-4, atol=1e-5)


def test_every_source_of_a_photo_gives_the_same_caption(tiny, tmp_path):
    image = photo(0)
    image.save(tmp_path / "photo.png")
    path, content = tmp_path / "photo.png", png(image)
    first, *others = tiny.caption([path, str(path), content, io.BytesIO(content), image, bytearray(content)])
    for second in others:
        assert_same(first, second)


def test_a_caption_has_words_maps_and_probabilities(tiny):
    (caption,) = tiny.caption([photo(0, (200, 100))])
    words = len(caption.words)
    assert 1 <= words <= tiny.decoding.max_words == 8
    assert caption.text == " ".join(caption.words)
    assert caption.words == tuple(tiny.bundle.vocabulary.decode(caption.tokens)) and len(caption.tokens) == words
    assert caption.alphas.shape == (words, 2, 2)
    assert caption.gates.shape == caption.word_log_probs.shape == (words,)
    np.testing.assert_allclose(caption.alphas.sum(axis=(1, 2)), 1, rtol=1e-5)
    assert ((caption.gates > 0) & (caption.gates < 1)).all()
    assert caption.log_prob <= caption.word_log_probs.sum() + 1e-6
    assert caption.probability == pytest.approx(np.exp(caption.log_prob))
    assert (caption.frame.width, caption.frame.height, caption.frame.seen_box) == (200, 100, (50.0, 0.0, 150.0, 100.0))


def test_the_spread_of_a_map_is_the_share_of_the_photo_that_it_covers(tiny):
    (caption,) = tiny.caption([photo(0)])
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 1, 0] = 1  # one of four locations
    maps[1, 0] = 0.5  # two
    maps[2] = 0.25  # all
    spread = replace(caption, words=("dog", "runs", "of"), alphas=maps)
    np.testing.assert_allclose(spread.spreads, [0.25, 0.5, 1.0], rtol=1e-5)
    assert replace(caption, words=(), alphas=np.zeros((0, 2, 2))).spreads.shape == (0,)


def test_a_batch_gives_the_same_as_its_photos_alone(tiny):
    photos = [photo(seed, size) for seed, size in enumerate([(90, 70), (64, 64), (1, 1), (300, 40), (33, 200)])]
    together = tiny.caption(photos)
    for batch_size in (1, 2, 5):
        for first, second in zip(together, tiny.caption(photos, batch_size=batch_size), strict=True):
            assert_same(first, second)
    assert len({caption.alphas.tobytes() for caption in together}) == 5  # the photos have different maps


def test_several_captions_of_each_photo_are_sorted_best_first(tiny):
    options = DecodingOptions(beam_width=4, captions_per_image=3, max_words=5)
    captions_by_photo = list(tiny.captions([photo(seed) for seed in range(3)], options, batch_size=2))
    assert [len(captions) for captions in captions_by_photo] == [3, 3, 3]
    for captions in captions_by_photo:
        assert [c.score for c in captions] == sorted((c.score for c in captions), reverse=True)
        assert len({c.tokens for c in captions}) == 3 and max(len(c.words) for c in captions) <= 5


def test_the_best_of_several_captions_is_the_single_caption(tiny):
    several = DecodingOptions(beam_width=4, captions_per_image=3)
    (best,), ((first, *_),) = tiny.caption([photo(1)], several), list(tiny.captions([photo(1)], several))
    assert_same(best, first)


def test_no_photos_give_no_captions(tiny):
    assert tiny.caption([]) == [] and list(tiny.captions([])) == []


@pytest.mark.parametrize("kind", ["text", "path", "bytes", "image", "stream"])
def test_one_photo_without_a_list_is_a_config_error(tiny, tmp_path, kind):
    path, image = tmp_path / "photo.png", photo(0)
    source = {"text": str(path), "path": path, "bytes": png(image), "image": image, "stream": io.BytesIO(png(image))}[
        kind
    ]
    with pytest.raises(ConfigError, match="put the one photo in a list"):
        tiny.caption(source)
    with pytest.raises(ConfigError, match="put the one photo in a list"):
        list(tiny.captions(source))


def test_an_unreadable_photo_is_named(tiny, tmp_path):
    (tmp_path / "notes.jpg").write_text("no photo")
    for name in ("notes.jpg", "missing.jpg"):
        with pytest.raises(ImageError, match=name):
            tiny.caption([photo(0), tmp_path / name])


def test_the_encoder_gets_the_fitted_photo(tiny):
    square, frame = tiny.prepare(photo(3, (80, 60)))
    assert square.shape == (64, 64, 3) and square.dtype == np.uint8
    by_hand = open_image(photo(3, (80, 60))).resize((64, 64), Image.Resampling.BICUBIC, box=frame.seen_box)
    assert np.array_equal(square, np.asarray(by_hand))
    ((caption,),) = tiny.caption_pixels(square[None], [frame])
    assert_same(caption, tiny.caption([photo(3, (80, 60))])[0])


def test_a_photo_from_open_image_is_not_opened_again(tiny, monkeypatch):
    upright = open_image(png(photo(3, (80, 60))))
    expected, expected_frame = tiny.prepare(png(photo(3, (80, 60))))
    before = upright.tobytes()
    monkeypatch.setattr("captioner.captioner.open_image", lambda source: pytest.fail("opened again"))
    square, frame = tiny.prepare(upright)
    assert np.array_equal(square, expected) and frame == expected_frame
    assert upright.tobytes() == before


def watched(tiny, photos: list[Image.Image], options: DecodingOptions) -> tuple[dict, list]:
    """Return the announced beginnings of each photo, and its captions."""
    squares, frames = zip(*map(tiny.prepare, photos), strict=True)
    beginnings = {number: [] for number in range(len(photos))}
    captions = tiny.caption_pixels(
        np.stack(squares), frames, options, lambda image, part: beginnings[image].append(part)
    )
    return beginnings, captions


@pytest.mark.parametrize(
    "options",
    [
        DecodingOptions(1, max_words=8),
        DecodingOptions(2, captions_per_image=2, max_words=8),
        DecodingOptions(4, captions_per_image=3, max_words=8, block_repeats=0),  # repeats agree early
        DecodingOptions(max_words=8, temperature=1.0, seed=0),  # captions of different lengths
    ],
)
def test_beginnings_of_captions_are_announced_once_they_are_certain(make_bundle, options):
    tiny = Captioner(make_bundle(3), "cpu")
    photos = [photo(seed, size) for seed, size in enumerate([(90, 70), (64, 64), (300, 40), (33, 200)])]
    beginnings, captions_by_photo = watched(tiny, photos, options)
    for number, captions in enumerate(captions_by_photo):
        lengths = [len(beginning.words) for beginning in beginnings[number]]
        assert lengths == sorted(set(lengths)) and 0 not in lengths  # each longer than the one before
        if options.beam_width == 1 or options.temperature:
            assert lengths == list(range(1, len(captions[0].words) + 1))
        for beginning in beginnings[number]:
            length = len(beginning.words)
            assert beginning.frame == captions[0].frame and beginning.text == " ".join(beginning.words)
            assert all(beginning.tokens == caption.tokens[:length] for caption in captions)
            assert beginning.words == captions[0].words[:length]
            for name in ("alphas", "gates", "word_log_probs"):
                np.testing.assert_allclose(getattr(beginning, name), getattr(captions[0], name)[:length], atol=1e-6)
            assert beginning.log_prob == beginning.score == pytest.approx(beginning.word_log_probs.sum(), abs=1e-5)
    assert any(beginnings.values())
    assert not options.temperature or len({len(captions[0].words) for captions in captions_by_photo}) > 1


def test_watching_does_not_change_a_caption(tiny):
    photos, options = [photo(seed) for seed in range(3)], DecodingOptions(3, captions_per_image=2, max_words=8)
    _, captions_by_photo = watched(tiny, photos, options)
    for captions, expected in zip(captions_by_photo, tiny.captions(photos, options), strict=True):
        for first, second in zip(captions, expected, strict=True):
            assert_same(first, second)


def test_an_error_of_the_watcher_is_raised(tiny):
    square, frame = tiny.prepare(photo(0))

    def leave(image, caption):
        raise ConnectionError(f"nobody listens to photo {image}")

    with pytest.raises(ConnectionError, match="photo 0"):
        tiny.caption_pixels(square[None], [frame], DecodingOptions(1), leave)


def test_threads_may_share_a_captioner(tiny):
    photos = [photo(seed) for seed in range(4)]
    expected, results = tiny.caption(photos), {}

    def work(number: int) -> None:
        results[number] = tiny.caption([photos[number]])[0]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert_same(results[number], expected[number])


def test_captioning_changes_no_weight_and_keeps_no_gradient(tiny):
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    tiny.model.train()  # its former owner may have trained it
    Captioner(tiny.bundle, "cpu").caption([photo(0)])
    assert all(bool((tensor == before[name]).all()) for name, tensor in tiny.model.state_dict().items())
    assert not tiny.model.training


def test_a_captioner_loads_from_a_folder(tiny, tiny_bundle, tmp_path):
    save_bundle(tiny_bundle, tmp_path / "mine")
    loaded = captioner.load(tmp_path / "mine", device="cpu")
    assert loaded.decoding == tiny_bundle.decoding
    assert loaded.caption([photo(0)])[0].tokens == tiny.caption([photo(0)])[0].tokens
