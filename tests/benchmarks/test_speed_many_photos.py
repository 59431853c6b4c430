"""The benchmark of many photos: our captioner in batches and one at a time, and its peers."""

import time
from types import SimpleNamespace

import torch

from benchmarks import many_photos, peers
from benchmarks.many_photos import BASE, BULK_BASE, copy_examples, measure
from tests.support.benchmark_results import check


def test_batches_and_single_photos_are_measured(shipped, monkeypatch):
    monkeypatch.setattr(peers, "installed", lambda: False)
    results = measure(shipped, quick=True)
    check(many_photos, results, BASE, "ours, beam 3, one at a time", "textbook, beam 5, one at a time")
    check(many_photos, results, BULK_BASE, "the library", "into a file, photos read by 1 process")
    assert len(results.rows) == 5 and results.rows[0].contestant == BASE
    assert "pip install transformers" in many_photos.report(results)


def test_a_peer_is_timed_at_its_fastest_batch_size(tmp_path):
    seconds = {1: 0.03, 2: 0.001, 4: 0.1}

    class Peer:
        network = SimpleNamespace(device=torch.device("cpu"))

        def pixels(self, path):
            return path

        def tokens(self, pixels, length):
            time.sleep(seconds[len(pixels)])

    paths = copy_examples(tmp_path, 8)
    assert many_photos.best_batch_size(Peer(), paths, 5, (1, 2, 4)) == 2


def test_examples_are_repeated_up_to_the_wanted_number(tmp_path):
    paths = copy_examples(tmp_path, 9)
    assert len(set(paths)) == 9 and paths[0].read_bytes() == paths[7].read_bytes() != paths[1].read_bytes()
