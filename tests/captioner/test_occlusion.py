"""Occlusion maps equal occlusion by hand."""

import numpy as np
import pytest
import torch

from captioner.captioner import Captioner
from captioner.occlusion import ROUNDING, occlusion_maps
from captioner.text.vocabulary import START
from tests.captioner.test_captioner import photo

WORDS = [5, 9, 6]


def annotations_of(locations: int = 6) -> torch.Tensor:
    return torch.randn(locations, 7, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def log_prob_without(decoder, annotations, location: int | None, position: int) -> float:
    """Return the log-probability of the word at `position` with one location occluded; earlier words read all."""
    features = decoder.prepare(annotations.unsqueeze(0))
    state = decoder.initial_state(features, 1)
    for previous in [START, *WORDS][:position]:
        _, state, *_ = decoder.step(features, state, torch.tensor([[previous]]))
    visible = [index for index in range(len(annotations)) if index != location]
    fewer = decoder.prepare(annotations[visible].unsqueeze(0))
    logits, *_ = decoder.step(fewer, state, torch.tensor([[[START, *WORDS][position]]]))
    return float(logits[0, 0].log_softmax(dim=-1)[WORDS[position]])


@pytest.mark.parametrize(
    "options", [{}, {"attention": "hard"}, {"attention": "none"}, {"score": "dot", "query": "hidden_word"}]
)
def test_an_occlusion_map_is_the_loss_in_probability_at_each_location(make_decoder, options):
    decoder, annotations = make_decoder(words=8, **options), annotations_of()
    maps = occlusion_maps(decoder, annotations, torch.tensor(WORDS))
    assert maps.shape == (3, 6)
    for position in range(3):
        full = log_prob_without(decoder, annotations, None, position)
        drops = np.array([full - log_prob_without(decoder, annotations, location, position) for location in range(6)])
        drops = np.where(drops > ROUNDING, drops, 0)
        expected = drops / drops.sum() if drops.sum() else np.full(6, 1 / 6)
        np.testing.assert_allclose(maps[position].numpy(), expected, atol=1e-3)


def test_grids_larger_than_one_batch_of_occlusions_are_covered(make_decoder):
    decoder, annotations = make_decoder(words=8), annotations_of(150)
    (expected,) = occlusion_maps(decoder, annotations, torch.tensor([5]))
    order = torch.randperm(150, generator=torch.Generator().manual_seed(0))
    (permuted,) = occlusion_maps(decoder, annotations[order], torch.tensor([5]))
    torch.testing.assert_close(permuted, expected[order], atol=1e-4, rtol=1e-3)


def test_the_map_is_uniform_where_no_location_matters(make_decoder):
    decoder = make_decoder(words=8)
    annotations = annotations_of()[:1].expand(6, -1)  # all annotations are equal, so that an occluded one loses nothing
    torch.testing.assert_close(occlusion_maps(decoder, annotations, torch.tensor([5])).sum(dim=-1), torch.ones(1))
    assert occlusion_maps(decoder, annotations, torch.tensor([], dtype=torch.long)).shape == (0, 6)


def test_a_captioner_computes_the_occlusion_maps_of_its_caption(tiny_bundle):
    captioner = Captioner(tiny_bundle, "cpu")
    (caption,) = captioner.caption([photo(0)])
    maps = captioner.occlusion_maps(photo(0), caption)
    assert maps.shape == caption.alphas.shape
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), 1, rtol=1e-4)
    assert not np.allclose(maps, caption.alphas, atol=1e-2)
    annotations = captioner.encode(captioner.prepare(photo(0))[0][None])[0]
    by_hand = occlusion_maps(captioner.model.decoder, annotations.flatten(0, 1), torch.tensor(caption.tokens))
    np.testing.assert_allclose(maps.reshape(len(maps), -1), by_hand.numpy(), atol=1e-5)


def test_the_earlier_name_of_the_method_works_and_warns(tiny_bundle):
    captioner = Captioner(tiny_bundle, "cpu")
    (caption,) = captioner.caption([photo(0)])
    with pytest.warns(DeprecationWarning, match="occlusion_maps"):
        maps = captioner.evidence(photo(0), caption)
    np.testing.assert_array_equal(maps, captioner.occlusion_maps(photo(0), caption))
