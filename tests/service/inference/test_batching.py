"""The queue in front of the model: which photos share a forward pass, which wait, and which are refused."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from captioner.captioner import Captioner
from captioner.config import DecodingOptions
from captioner.images.fitting import ImageFrame
from service.inference.batching import (
    BACKGROUND_BATCH_SIZE,
    QUIET_BATCH_SIZE,
    Batcher,
    DeadlinePassed,
    QueueFull,
    Stopping,
)

FRAME = ImageFrame(64, 64, (0.0, 0.0, 64.0, 64.0))
OPTIONS = DecodingOptions(beam_width=3, max_words=6)
SOON = 20.0


class Model:
    """A captioner that can be held before a forward pass and records the size of each."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def encode(self, pixels):
        self.entered.set()
        assert self.go.wait(SOON)
        self.sizes.append(len(pixels))
        if (pixels == 13).all(axis=(1, 2, 3)).any():
            raise RuntimeError("a poison photo")
        return self._captioner.encode(pixels)

    def caption_annotations(self, *arguments):
        return self._captioner.caption_annotations(*arguments)

    def hold(self):
        """Make forward passes wait until `go` is set."""
        self.entered.clear()
        self.go.clear()


@pytest.fixture
def captioner(tiny_bundle):
    return Captioner(tiny_bundle, "cpu")


@pytest.fixture
def model(captioner):
    return Model(captioner)


@pytest.fixture
def make_batcher(model):
    batchers = []

    def make(batch_size=8, window_seconds=0.0, queue_size=64, **options):
        batchers.append(Batcher(model, batch_size, window_seconds, queue_size, **options))
        return batchers[-1]

    yield make
    model.go.set()
    for batcher in batchers:
        batcher.close(SOON)


def photo(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def submit(batcher, seed=0, options=OPTIONS, seconds=SOON, on_words=None, pixels=None, in_background=False):
    return batcher.submit(
        photo(seed) if pixels is None else pixels, FRAME, options, time.monotonic() + seconds, on_words, in_background
    )


def busy(batcher, model):
    """Hold the model at a photo of its own, so that photos submitted next have to wait."""
    model.hold()
    future = submit(batcher, seed=99)
    assert model.entered.wait(SOON)
    return future


def test_waiting_photos_share_one_pass_with_the_same_results_as_alone(make_batcher, model, captioner):
    batcher = make_batcher()
    first = busy(batcher, model)
    futures = [submit(batcher, seed) for seed in range(5)]
    assert batcher.depth == 5
    model.go.set()
    results = [future.result(SOON) for future in futures]
    first.result(SOON)
    assert model.sizes == [1, 5]
    for seed, result in enumerate(results):
        (alone,) = captioner.caption_pixels(photo(seed)[None], [FRAME], OPTIONS)
        assert result.captions[0].tokens == alone[0].tokens
        np.testing.assert_allclose(result.captions[0].alphas, alone[0].alphas, atol=1e-5)
        assert result.queue_seconds > 0 and result.encode_seconds > 0 and result.decode_words_seconds > 0


def test_the_thread_of_the_model_is_warmed_up_before_the_first_batch(make_batcher, model):
    threads = []
    batcher = make_batcher(on_start=lambda: threads.append(threading.current_thread().name) or len(model.sizes))
    assert submit(batcher).result(SOON).captions
    assert batcher.started.result(SOON) == 0 and threads == ["model"]


def test_a_failed_warm_up_is_reported(make_batcher):
    def fail():
        raise MemoryError

    batcher = make_batcher(on_start=fail)
    with pytest.raises(MemoryError):
        batcher.started.result(SOON)


def test_a_batch_never_exceeds_its_maximum_size(make_batcher, model):
    sizes = []
    batcher = make_batcher(batch_size=3, on_batch=sizes.append)
    busy(batcher, model)
    futures = [submit(batcher, seed) for seed in range(7)]
    model.go.set()
    for future in futures:
        future.result(SOON)
    assert model.sizes == sizes == [1, 3, 3, 1]


def test_photos_with_different_options_share_the_encoder_and_keep_their_options(make_batcher, model):
    batcher = make_batcher()
    busy(batcher, model)
    short = submit(batcher, 1, DecodingOptions(beam_width=1, max_words=2))
    several = submit(batcher, 2, DecodingOptions(beam_width=4, captions_per_image=4, max_words=6))
    model.go.set()
    assert len(short.result(SOON).captions[0].words) <= 2
    assert len(several.result(SOON).captions) == 4
    assert model.sizes == [1, 2]


def test_a_lone_photo_never_waits_for_the_window(make_batcher):
    batcher = make_batcher(window_seconds=SOON)
    with batcher.announce():
        future = submit(batcher)
    assert future.result(SOON).queue_seconds < SOON / 2


def test_a_photo_waits_for_announced_photos(make_batcher, model):
    batcher = make_batcher(window_seconds=SOON)
    other_comes, other_may_submit = threading.Event(), threading.Event()

    def other():
        with batcher.announce():
            other_comes.set()
            assert other_may_submit.wait(SOON)
            submit(batcher, 2).add_done_callback(lambda _: None)

    thread = threading.Thread(target=other)
    thread.start()
    assert other_comes.wait(SOON)
    future = submit(batcher, 1)
    time.sleep(0.1)
    assert model.sizes == []
    other_may_submit.set()
    future.result(SOON)
    thread.join()
    assert model.sizes == [2]


def test_a_photo_that_had_to_wait_waits_for_clients_that_were_just_answered(make_batcher, model):
    batcher = make_batcher(window_seconds=SOON)
    first = busy(batcher, model)
    second = submit(batcher, 1)
    model.go.set()
    first.result(SOON)
    third = submit(batcher, 2)
    time.sleep(0.1)
    assert model.sizes == [1]
    batcher.close(0)  # closing does not wait for the window
    second.result(SOON), third.result(SOON)
    assert model.sizes == [1, 2]


def test_a_photo_waits_no_longer_than_the_window(make_batcher, model):
    batcher = make_batcher(window_seconds=0.1)
    with batcher.announce():
        assert 0.09 < submit(batcher).result(SOON).queue_seconds < SOON / 2
    assert model.sizes == [1]


def test_a_full_queue_refuses_photos_until_it_has_room(make_batcher, model):
    batcher = make_batcher(queue_size=2)
    busy(batcher, model)
    futures = [submit(batcher, seed) for seed in range(2)]
    with pytest.raises(QueueFull):
        submit(batcher, 3)
    model.go.set()
    for future in futures:
        future.result(SOON)
    assert submit(batcher, 4).result(SOON).captions


def test_a_photo_that_breaks_the_model_fails_alone(make_batcher, model, caplog):
    batcher = make_batcher()
    busy(batcher, model)
    good = [submit(batcher, seed) for seed in range(2)]
    poison = submit(batcher, pixels=np.full((64, 64, 3), 13, dtype=np.uint8))
    also_good = submit(batcher, 3)
    model.go.set()
    with pytest.raises(RuntimeError, match="a poison photo"):
        poison.result(SOON)
    for future in [*good, also_good]:
        assert future.result(SOON).captions
    assert submit(batcher, 4).result(SOON).captions
    assert "one by one" in caplog.text


def test_a_photo_past_its_deadline_is_not_captioned(make_batcher, model):
    batcher = make_batcher()
    busy(batcher, model)
    late, in_time = submit(batcher, 1, seconds=0.01), submit(batcher, 2)
    time.sleep(0.05)
    model.go.set()
    with pytest.raises(DeadlinePassed):
        late.result(SOON)
    in_time.result(SOON)
    assert model.sizes == [1, 1]


def test_a_cancelled_photo_is_not_captioned(make_batcher, model):
    batcher = make_batcher()
    first = busy(batcher, model)
    cancelled = submit(batcher, 1)
    assert cancelled.cancel()
    model.go.set()
    first.result(SOON)
    assert submit(batcher, 2).result(SOON).captions
    with pytest.raises(CancelledError):
        cancelled.result(SOON)
    assert model.sizes == [1, 1]


def test_closing_finishes_waiting_photos_and_refuses_new_ones(make_batcher, model):
    batcher = make_batcher(batch_size=2)
    busy(batcher, model)
    futures = [submit(batcher, seed) for seed in range(5)]
    closing = threading.Thread(target=batcher.close, args=(SOON,))
    closing.start()
    while True:
        try:
            submit(batcher, 7).cancel()
        except Stopping:
            break
    model.go.set()
    closing.join(SOON)
    assert not closing.is_alive() and all(future.result(0).captions for future in futures)


def test_each_watcher_sees_the_words_of_its_own_photo(make_batcher, model):
    batcher = make_batcher()
    busy(batcher, model)
    parts = [[], []]
    futures = [submit(batcher, seed, on_words=parts[seed].append) for seed in range(2)]
    unwatched = submit(batcher, 2)
    model.go.set()
    for updates, future in zip(parts, futures, strict=True):
        words = future.result(SOON).captions[0].words
        assert all(caption.words == words[: len(caption.words)] for caption in updates)
    assert unwatched.result(SOON).captions


def test_many_threads_at_once_each_get_their_own_caption(make_batcher, captioner):
    batcher = make_batcher(batch_size=4, window_seconds=0.002)
    alone = [captioner.caption_pixels(photo(seed)[None], [FRAME], OPTIONS)[0][0].tokens for seed in range(24)]
    captions = {}

    def run(seed):
        with batcher.announce():
            future = submit(batcher, seed)
        captions[seed] = future.result(SOON).captions[0].tokens

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [captions[seed] for seed in range(24)] == alone


def test_background_photos_share_batches_of_their_own_after_all_others(model, make_batcher, monkeypatch):
    monkeypatch.setattr("service.inference.batching.BACKGROUND_PATIENCE_SECONDS", 600.0)
    batcher = make_batcher(batch_size=4)
    first, finished = busy(batcher, model), []
    futures = {f"background {n}": submit(batcher, seed=n, in_background=True) for n in range(6)}
    futures |= {f"request {n}": submit(batcher, seed=n) for n in range(2)}
    for name, future in futures.items():
        future.add_done_callback(lambda _, name=name: finished.append(name))
    assert batcher.depth == 2, "the queue of requests"
    model.go.set()
    results = {name: future.result(SOON) for name, future in futures.items()}
    first.result(SOON)
    assert finished[:2] == ["request 0", "request 1"] and model.sizes == [1, 2, 4, 2]
    assert results["background 1"].captions[0].text == results["request 1"].captions[0].text


def test_a_full_queue_takes_background_photos(model, make_batcher):
    batcher = make_batcher(queue_size=1)
    busy(batcher, model)
    submit(batcher)
    with pytest.raises(QueueFull):
        submit(batcher)
    future = submit(batcher, in_background=True)
    model.go.set()
    assert future.result(SOON).captions


def test_a_background_batch_gets_its_turn_under_constant_load(model, make_batcher, monkeypatch):
    monkeypatch.setattr("service.inference.batching.BACKGROUND_PATIENCE_SECONDS", 0.0)
    batcher = make_batcher(batch_size=2)
    busy(batcher, model)
    futures = [submit(batcher, seed=n) for n in range(4)]
    background = submit(batcher, seed=9, in_background=True)
    order = []
    for future in (*futures, background):
        future.add_done_callback(order.append)
    model.go.set()
    for future in (*futures, background):
        future.result(SOON)
    assert order[0] is background and model.sizes == [1, 1, 2, 2]


def test_a_closed_batcher_finishes_background_photos_and_skips_cancelled_ones(model, make_batcher):
    batcher = make_batcher(batch_size=4)
    busy(batcher, model)
    futures = [submit(batcher, seed=n, in_background=True) for n in range(3)]
    futures[1].cancel()
    closing = threading.Thread(target=batcher.close, args=(SOON,))
    closing.start()
    model.go.set()
    closing.join(SOON)
    assert [future.cancelled() for future in futures] == [False, True, False] and model.sizes == [1, 2]
    with pytest.raises(Stopping):
        submit(batcher, in_background=True)


def test_a_request_waits_for_one_small_batch_of_forty_background_photos(model, make_batcher):
    batcher, captioned = make_batcher(batch_size=16), []
    model.hold()
    futures = [submit(batcher, seed=n, in_background=True) for n in range(40)]
    for future in futures:
        future.add_done_callback(captioned.append)
    assert model.entered.wait(SOON)
    request = submit(batcher, seed=50)
    before_request = []
    request.add_done_callback(lambda _: before_request.extend(captioned))
    model.go.set()
    for future in (request, *futures):
        future.result(SOON)
    assert 1 <= len(before_request) <= QUIET_BATCH_SIZE == max(model.sizes)
    of_request = next(index for index in range(len(model.sizes)) if sum(model.sizes[:index]) >= len(before_request))
    assert max(model.sizes[of_request + 1 :]) == BACKGROUND_BATCH_SIZE, "smaller batches once a request came"


def test_background_batches_grow_again_after_a_time_without_requests(model, make_batcher, monkeypatch):
    batcher = make_batcher(batch_size=16)
    submit(batcher, seed=50).result(SOON)
    monkeypatch.setattr("service.inference.batching.QUIET_SECONDS", 0.0)
    model.hold()
    futures = [submit(batcher, seed=n, in_background=True) for n in range(2 * QUIET_BATCH_SIZE)]
    model.go.set()
    for future in futures:
        future.result(SOON)
    assert max(model.sizes) == QUIET_BATCH_SIZE


def test_no_background_batch_is_larger_than_those_of_requests(model, make_batcher):
    batcher = make_batcher(batch_size=2)
    for future in [submit(batcher, seed=n, in_background=True) for n in range(8)]:
        future.result(SOON)
    assert max(model.sizes) == 2


def test_background_photos_wait_for_a_photo_that_is_being_prepared(model, make_batcher):
    batcher, order = make_batcher(), []
    with batcher.announce():
        futures = [submit(batcher, seed=n, in_background=True) for n in range(BACKGROUND_BATCH_SIZE)]
        assert not model.entered.wait(0.5)
        futures.append(submit(batcher, seed=50))
        for future in futures:
            future.add_done_callback(order.append)
    for future in futures:
        future.result(SOON)
    assert order[0] is futures[-1]


def test_a_prepared_photo_delays_background_photos_no_longer_than_their_patience(model, make_batcher, monkeypatch):
    monkeypatch.setattr("service.inference.batching.BACKGROUND_PATIENCE_SECONDS", 0.1)
    batcher = make_batcher()
    with batcher.announce():
        assert submit(batcher, in_background=True).result(SOON).captions


def test_the_patience_of_background_photos_begins_when_their_last_batch_ends(model, make_batcher, monkeypatch):
    monkeypatch.setattr("service.inference.batching.BACKGROUND_PATIENCE_SECONDS", 1.0)
    batcher, order = make_batcher(), []
    model.hold()
    futures = [submit(batcher, seed=n, in_background=True) for n in range(2 * QUIET_BATCH_SIZE)]
    assert model.entered.wait(SOON)
    request = submit(batcher, seed=50)
    for future in (request, *futures):
        future.add_done_callback(order.append)
    time.sleep(1.2)  # longer than the patience
    model.go.set()
    for future in (request, *futures):
        future.result(SOON)
    assert order.index(request) <= QUIET_BATCH_SIZE
