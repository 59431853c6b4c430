"""Hard attention's gradient estimate equals the exact sum over all locations on a toy model, and it learns."""

import itertools

import pytest
import torch

from captioner.config import CaptionerConfig
from captioner.model.decoder import EXPECTED, LIKELIEST, SAMPLED, Decoder
from captioner.text.vocabulary import END, PAD, START
from tests.support.weighted_losses import captions_loss
from training.data.dataset import Batch
from training.losses import caption_nll, map_entropy, mean_word_log_prob, reinforce_loss
from training.objectives import caption_losses
from training.options import FitOptions
from training.runs.run import Progress

LOCATIONS, WORDS = 3, 3
INPUTS = torch.tensor([[[START, 5, 6]]])  # [B, K, T]
TARGETS = torch.tensor([[[5, 6, END]]])


@pytest.fixture
def decoder(make_decoder):
    return make_decoder(words=6, attention="hard", query="hidden_word", dropout=0.0).double()


@pytest.fixture
def annotations():
    return torch.randn(1, LOCATIONS, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def all_location_choices():
    """Return all ways to read one location per word: [B, K, T] each."""
    return [
        torch.tensor(locations).view(1, 1, WORDS) for locations in itertools.product(range(LOCATIONS), repeat=WORDS)
    ]


def location_probability(output) -> torch.Tensor:
    return output.alphas.double().gather(-1, output.locations.unsqueeze(-1)).prod()


def gradients(decoder, value) -> dict[str, torch.Tensor]:
    decoder.zero_grad()
    value.backward(retain_graph=True)
    return {name: weight.grad.clone() for name, weight in decoder.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("baseline", [0.0, -1.3])
def test_the_expected_estimate_equals_the_gradient_of_the_bound(decoder, annotations, baseline):
    """Eq. 10: sum_s p(s|a) log p(y|s, a), the mean of the estimates of all s, weighted by p(s|a)."""
    bound, estimate, total = 0.0, 0.0, 0.0
    for locations in all_location_choices():
        output = decoder(annotations, INPUTS, locations)
        probability, nll = location_probability(output), caption_nll(output.logits, TARGETS).double()
        bound = bound + probability * nll / WORDS
        sample_estimate = nll / WORDS + reinforce_loss(
            output.logits, output.alphas, output.locations, TARGETS, baseline
        )
        estimate = estimate + probability.detach() * sample_estimate
        total += probability.item()
    assert total == pytest.approx(1)
    exact_gradients, estimated_gradients = gradients(decoder, bound), gradients(decoder, estimate)
    assert exact_gradients["score.hidden_to_query.weight"].abs().max() > 1e-3
    for name, gradient in exact_gradients.items():
        torch.testing.assert_close(estimated_gradients[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_locations_are_sampled_by_their_weights(decoder, annotations):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        inputs = INPUTS.expand(1, 4000, -1)
        output = decoder(annotations, inputs, SAMPLED)
    frequencies = output.locations[0, :, 0].bincount(minlength=LOCATIONS) / 4000
    torch.testing.assert_close(frequencies, output.alphas[0, 0, 0].float(), atol=0.03, rtol=0)


@torch.no_grad()
def test_decoding_reads_the_likeliest_location_or_the_average(decoder, annotations):
    features = decoder.prepare(annotations)
    state = decoder.initial_state(features, 1)
    start = torch.tensor([[START]])
    likeliest, _, alpha, *_ = decoder.step(features, state, start, LIKELIEST)
    forced = decoder(annotations, start.view(1, 1, 1), alpha.argmax(dim=-1).view(1, 1, 1))
    torch.testing.assert_close(likeliest, forced.logits[:, :, 0])
    expected, *_ = decoder.step(features, state, start, EXPECTED)
    decoder.attention = "soft"
    torch.testing.assert_close(expected, decoder.step(features, state, start)[0])
    assert not torch.allclose(expected, likeliest)


class Toy(torch.nn.Module):
    def __init__(self, decoder):
        super().__init__()
        self.decoder = decoder


@pytest.mark.parametrize(("share", "samples"), [(1.0, False), (0.0, True)])
def test_training_images_read_the_average_or_a_sample(decoder, annotations, share, samples):
    options = FitOptions(expected_share=share, label_smoothing=0.0)
    result = caption_losses(Toy(decoder), annotations, Batch((0,), annotations, INPUTS, TARGETS), options)
    assert (result.word_log_prob is not None) == samples
    if not samples:
        output = decoder(annotations, INPUTS, EXPECTED)
        by_hand = caption_nll(output.logits, TARGETS) / 3 - 0.002 * map_entropy(output.alphas, TARGETS != PAD)
        torch.testing.assert_close(captions_loss(result, options), by_hand)


def test_each_image_reads_one_location_or_the_average(decoder, annotations):
    two_images, inputs = torch.cat([annotations, annotations]), INPUTS.expand(2, -1, -1)
    locations = torch.tensor([[[0, 2, 1]], [[0, 2, 1]]])
    output = decoder(two_images, inputs, locations, use_expectation=torch.tensor([True, False]))
    torch.testing.assert_close(output.logits[:1], decoder(annotations, INPUTS, EXPECTED).logits)
    torch.testing.assert_close(output.logits[1:], decoder(annotations, INPUTS, locations[1:]).logits)


def test_only_sampled_locations_are_reinforced(decoder, annotations):
    two_images = torch.cat([annotations, annotations])
    inputs, targets = INPUTS.expand(2, -1, -1), TARGETS.expand(2, -1, -1)
    options = FitOptions(expected_share=0.5, label_smoothing=0.0, entropy_weight=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        is_averaged = torch.rand(2) < 0.5
        output = decoder(two_images, inputs, SAMPLED, is_averaged)
        torch.manual_seed(0)
        result = caption_losses(
            Toy(decoder), two_images, Batch((0, 1), two_images, inputs, targets), options, baseline=-1.0
        )
    assert is_averaged.tolist() == [True, False]  # the seed was chosen for this
    reinforce = reinforce_loss(output.logits[1:], output.alphas[1:], output.locations[1:], TARGETS, -1.0)
    by_hand = caption_nll(output.logits, targets) / 6 + options.reinforce_weight * reinforce / 2
    torch.testing.assert_close(captions_loss(result, options), by_hand)
    assert result.word_log_prob == pytest.approx(mean_word_log_prob(output.logits[1:], TARGETS))


def test_padding_does_not_change_the_loss(decoder, annotations):
    padded_inputs = torch.cat([INPUTS, torch.tensor([[[PAD, PAD]]])], dim=-1)
    padded_targets = torch.cat([TARGETS, torch.tensor([[[PAD, PAD]]])], dim=-1)
    locations = torch.tensor([[[0, 2, 1, 1, 0]]])
    short = decoder(annotations, INPUTS, locations[..., :3])
    long = decoder(annotations, padded_inputs, locations)
    for output, targets in ((short, TARGETS), (long, padded_targets)):
        loss = reinforce_loss(output.logits, output.alphas, output.locations, targets, -1.0)
        torch.testing.assert_close(loss, reinforce_loss(short.logits, short.alphas, short.locations, TARGETS, -1.0))
        assert mean_word_log_prob(output.logits, targets) == pytest.approx(
            -caption_nll(short.logits, TARGETS).item() / 3, rel=1e-5
        )


def test_the_entropy_of_maps_equals_that_by_hand():
    alphas = torch.tensor([[[[0.5, 0.5], [1.0, 0.0], [0.9, 0.1]]]])
    mask = torch.tensor([[[True, True, False]]])
    assert map_entropy(alphas, mask).item() == pytest.approx(0.5 * 0.693147, rel=1e-4)


def test_the_baseline_is_updated_as_in_the_paper():
    progress = Progress()
    progress.update_baseline(None)
    assert progress.baseline is None
    progress.update_baseline(-4.0)
    assert progress.baseline == -4.0
    progress.update_baseline(-3.0)
    assert progress.baseline == pytest.approx(-3.9)


def test_hard_attention_learns_to_read_the_informative_location():
    """Each of four locations holds a word, and one of them a mark, which can only be learned from samples."""
    options = FitOptions(expected_share=0.0, entropy_weight=0.01, label_smoothing=0.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = CaptionerConfig(attention="hard", embedding_dim=6, hidden_dim=16, attention_dim=16, dropout=0.0)
        model = Toy(Decoder(config, annotation_dim=7, vocabulary_size=8)).train()
        optimizer, progress = torch.optim.Adam(model.parameters(), lr=0.02), Progress()

        def batch():
            order, locations = torch.rand(64, 4).argsort(dim=-1), torch.randint(4, (64,))
            annotations = torch.zeros(64, 4, 7).scatter(-1, order.unsqueeze(-1), 1.0)
            annotations[torch.arange(64), locations, 6] = 1.0
            words = 4 + order.gather(-1, locations.unsqueeze(-1)).squeeze(-1)
            inputs = torch.tensor([START]).expand(64, 1, 1)
            return locations, annotations, Batch(tuple(range(64)), annotations, inputs, words.view(64, 1, 1))

        for _ in range(200):
            _, annotations, training_batch = batch()
            result = caption_losses(model, annotations, training_batch, options, baseline=progress.baseline or 0.0)
            progress.update_baseline(result.word_log_prob)
            optimizer.zero_grad()
            captions_loss(result, options).backward()
            optimizer.step()
        locations, annotations, test_batch = batch()
        with torch.no_grad():
            output = model.decoder(annotations, test_batch.inputs)
    assert (output.locations[:, 0, 0] == locations).float().mean() > 0.9  # 0.25 by chance
    assert (output.logits[:, 0, 0].argmax(dim=-1) == test_batch.targets[:, 0, 0]).float().mean() > 0.9
