"""The whole network maps pixels to predictions, numbers locations by rows, and passes gradients to the encoder."""

import torch
from torch.nn.functional import cross_entropy

from captioner.model.encoders import encoder_spec
from captioner.model.network import CaptionModel


def pixels_of(images: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (images, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_pixels_and_words_give_predictions_of_the_right_shapes(tiny_bundle):
    model, tokens = tiny_bundle.model, torch.tensor([[[1, 4, 5, 6]] * 3] * 2)
    output = model(pixels_of(), tokens)
    assert output.logits.shape == (2, 3, 4, 14)
    assert output.alphas.shape == (2, 3, 4, 2 * 2)
    assert output.gates.shape == (2, 3, 4)
    by_hand = model.decoder(model.encoder(pixels_of()).flatten(1, 2), tokens)
    torch.testing.assert_close(output.logits, by_hand.logits)


@torch.no_grad()
def test_locations_are_numbered_row_by_row(tiny_bundle):
    grid = tiny_bundle.model.encoder(pixels_of())
    flat = grid.flatten(1, 2)
    assert torch.equal(flat[:, 1], grid[:, 0, 1]) and torch.equal(flat[:, 2], grid[:, 1, 0])


def test_a_given_network_is_used_as_the_encoder(tiny_config):
    network = encoder_spec(tiny_config.encoder).network()
    model = CaptionModel(tiny_config, 14, network)
    addresses = {parameter.data_ptr() for parameter in network.parameters()}
    assert {parameter.data_ptr() for parameter in model.encoder.parameters()} == addresses


def test_weight_names_stay_those_that_bundles_store(tiny_bundle):
    names = set(tiny_bundle.model.state_dict())
    assert {name.split(".")[0] for name in names} == {"encoder", "decoder"}
    assert {name.split(".")[1] for name in names if name.startswith("encoder.")} == {"stages"}
    assert {name.removeprefix("decoder.") for name in names if name.startswith("decoder.")} == {
        "embedding.weight",
        "score.annotation_to_key.weight",
        "score.annotation_to_key.bias",
        "score.hidden_to_query.weight",
        "score.key_to_score.weight",
        "init_hidden.weight",
        "init_hidden.bias",
        "init_cell.weight",
        "init_cell.bias",
        "hidden_to_gate.weight",
        "hidden_to_gate.bias",
        "embedding_to_lstm.weight",
        "embedding_to_lstm.bias",
        "context_to_lstm.weight",
        "hidden_to_lstm.weight",
        "hidden_to_output.weight",
        "hidden_to_output.bias",
        "context_to_output.weight",
        "output.weight",
        "output.bias",
    }


def test_gradients_reach_the_encoder(tiny_bundle):
    model = tiny_bundle.model.train()
    tokens = torch.tensor([[[1, 4, 5]]] * 2)
    logits = model(pixels_of(), tokens).logits
    cross_entropy(logits.flatten(0, 2), torch.tensor([4, 5, 2] * 2)).backward()
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []
