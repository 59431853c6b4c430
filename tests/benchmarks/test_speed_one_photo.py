"""The benchmark of one photo: our captioner by parts, the textbook's search, and peers whose package is installed."""

import pytest
import torch

from benchmarks import one_photo, peers
from benchmarks.examples import EXAMPLES
from benchmarks.one_photo import TextbookPhoto, draw_maps_plainly, measure
from benchmarks.textbook import TextbookCaption
from captioner.images.photo import open_image
from tests.support.benchmark_results import check


def test_our_parts_are_measured_and_missing_peers_name_their_package(shipped, monkeypatch):
    monkeypatch.setattr(peers, "installed", lambda: False)
    results = measure(shipped, quick=True)
    check(one_photo, results, "ours", "ours, without drawing", "textbook", "encode", "search")
    names = [
        "ours", "ours, without drawing", "ours, without drawing, in German", "textbook", "textbook, without drawing",
    ]  # fmt: skip
    assert [row.contestant for row in results.rows] == names
    assert all(row.p50_ms <= row.p95_ms for row in results.rows)
    assert sum(part.share for part in results.parts) == pytest.approx(1)
    assert "pip install transformers" in one_photo.report(results)


def test_the_textbook_generates_and_draws_the_requested_number_of_words(shipped):
    photo = (EXAMPLES / "cat.jpg").read_bytes()
    maps = TextbookPhoto([photo], [4], shipped, "resnet18", 64)(0)
    assert len(maps) == 4 and {overlay.size for overlay in maps} == {open_image(photo).size}


def test_the_textbooks_maps_are_brightest_where_it_attended():
    photo = open_image(EXAMPLES / "cat.jpg").resize((60, 60))
    alphas = torch.zeros(1, 9)
    alphas[0, 2] = 1.0  # the upper right of 3 x 3 locations
    (overlay,) = draw_maps_plainly(photo, TextbookCaption([4], alphas, -1.0))
    assert sum(overlay.getpixel((50, 10))) > sum(photo.getpixel((50, 10))) * 0.4 + 3 * 140
    assert overlay.getpixel((10, 50)) == tuple(pytest.approx(0.4 * value, abs=1) for value in photo.getpixel((10, 50)))


def test_peers_generate_the_requested_number_of_tokens():
    pytest.importorskip("transformers")
    available = peers.peers(torch.device("cpu"), quick=True)
    names = ["BLIP-base, greedy", "BLIP-base, beam 3", "ViT-GPT2, greedy", "ViT-GPT2, beam 4"]
    assert [peer.name for peer in available] == names
    for peer in available:
        pixels = peer.pixels(EXAMPLES / "cat.jpg")
        assert pixels.shape == (3, peer.image_size, peer.image_size)
        assert peer.tokens([pixels, pixels], 5).shape == (2, 6)
