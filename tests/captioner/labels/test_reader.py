"""The labels of a photo, the words copied from them, and the maps shown for them."""

import numpy as np
import pytest
import torch

from captioner.bundle.bundle import load_bundle, save_bundle
from captioner.caption_json import photo_json
from captioner.captioner import Captioner, captions_of
from captioner.decoding import Hypotheses
from captioner.errors import BundleError
from captioner.images.fitting import ImageFrame
from captioner.labels.names import LabelNames
from captioner.labels.reader import LabelReader
from captioner.model.label_attention import LabelAttention
from captioner.text.vocabulary import SPECIAL_WORDS, Vocabulary

NAMES = LabelNames.from_json(["zebra", ["tabby", "tabby cat"], "cup"])
VOCABULARY = Vocabulary([*SPECIAL_WORDS, "a", "zebra", "cat", "grass"])
FRAME = ImageFrame(64, 64, (0.0, 0.0, 64.0, 64.0))
A, ZEBRA, CAT, GRASS = 4, 5, 6, 7


@pytest.fixture
def reader() -> LabelReader:
    """Two classes are likely, zebra most; zebra is at the left of the photo, cat at the right."""
    attention = LabelAttention(2, NAMES.words_of(VOCABULARY), channels=3, embedding_dim=6, hidden_dim=5)
    attention.class_weight.copy_(torch.eye(3))
    annotations = torch.zeros(1, 2, 2, 4)
    annotations[0, :, 0, 0], annotations[0, :, 1, 1] = 6.0, 4.0
    return LabelReader(attention, NAMES, annotations)


def make_hypotheses(tokens, shares, alphas) -> Hypotheses:
    """One caption of one photo: for each word the shares of zebra, cat and none, and its map."""
    length = len(tokens)
    return Hypotheses(
        tokens=torch.tensor([[tokens]]),
        lengths=torch.tensor([[length]]),
        log_probs=torch.tensor([[-1.0]]),
        scores=torch.tensor([[-1.0]]),
        word_log_probs=torch.full((1, 1, length), -0.1),
        alphas=torch.tensor([[alphas]]),
        gates=torch.ones(1, 1, length),
        label_alphas=torch.tensor([[shares]]),
        agreement=torch.ones(1, 1, length),
    )


LEFT, RIGHT = [0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1]


def test_the_labels_of_a_photo_have_names_and_probabilities(reader):
    zebra, cat = reader.of_photo(0)
    assert (zebra.name, cat.name) == ("zebra", "tabby")
    assert zebra.probability > cat.probability > 0


def test_a_word_comes_from_the_attended_label_that_names_it(reader):
    shares = [[0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.1, 0.3, 0.6]]
    words = reader.words(make_hypotheses([A, ZEBRA, CAT, CAT, CAT], shares, [LEFT] * 5), 0, 0)
    # "a" names nothing; the first cat attended to zebra's label, the last one to none.
    assert words.word_labels == (None, 0, None, 1, None)


def test_the_map_of_a_label_replaces_attention_that_points_elsewhere(reader):
    hypotheses = make_hypotheses(
        [ZEBRA, ZEBRA, CAT, GRASS], [[0.9, 0.0, 0.1]] * 2 + [[0.0, 0.9, 0.1]] * 2, [LEFT, RIGHT] * 2
    )
    ((caption,),) = captions_of(hypotheses, (2, 2), [FRAME], VOCABULARY, reader)
    assert caption.word_labels == (0, 0, 1, None)
    assert list(caption.label_maps) == [1, 2]
    np.testing.assert_allclose(caption.maps[0], np.reshape(LEFT, (2, 2)), rtol=1e-6)
    np.testing.assert_allclose(caption.maps[1], [[0.5, 0], [0.5, 0]])
    np.testing.assert_allclose(caption.maps[2], [[0, 0.5], [0, 0.5]])
    np.testing.assert_allclose(caption.alphas[1], np.reshape(RIGHT, (2, 2)), rtol=1e-6)  # the original map is kept
    values = photo_json("photo.jpg", [caption])
    assert [label["name"] for label in values["labels"]] == ["zebra", "tabby"]
    assert [word["label"] for word in values["words"]] == ["zebra", "zebra", "tabby", None]
    assert [word["map_of"] for word in values["words"]] == ["attention", "label", "label", "attention"]
    assert values["words"][1]["label_map"] == [[0.5, 0.0], [0.5, 0.0]] and "label_map" not in values["words"][0]


def test_a_captioner_without_labels_reports_none(tiny_bundle):
    (caption,) = Captioner(tiny_bundle).caption([np_photo()])
    assert caption.labels == () and caption.word_labels == () and caption.label_maps == {}
    assert caption.maps is not caption.alphas and np.array_equal(caption.maps, caption.alphas)
    values = photo_json("photo.jpg", [caption])
    assert values["labels"] == [] and "label" not in values["words"][0]


def np_photo():
    from PIL import Image

    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


def test_a_captioner_with_labels_gives_the_same_captions_after_reloading(labelled_bundle, tmp_path):
    save_bundle(labelled_bundle, tmp_path / "mine")
    assert (tmp_path / "mine" / "labels.json").is_file()
    reloaded = load_bundle(tmp_path / "mine")
    assert reloaded.label_names == labelled_bundle.label_names
    first, second = (Captioner(bundle).caption([np_photo()])[0] for bundle in (labelled_bundle, reloaded))
    assert first.labels and [label.name for label in first.labels] == [label.name for label in second.labels]
    assert reloaded.model.decoder.labels.words.tolist() == labelled_bundle.model.decoder.labels.words.tolist()
    save_bundle(reloaded, tmp_path / "mine")  # an existing bundle may be replaced


@pytest.mark.parametrize("runtime", ["exact", "fast"])
def test_every_runtime_reports_the_labels(labelled_bundle, runtime):
    (caption,) = Captioner(labelled_bundle, runtime=runtime).caption([np_photo()])
    assert len(caption.labels) == 2 and len(caption.word_labels) == len(caption.words)


def test_a_bundle_whose_labels_do_not_fit_is_refused(labelled_bundle, tmp_path):
    folder = tmp_path / "mine"
    save_bundle(labelled_bundle, folder)
    names = (folder / "labels.json").read_text()
    (folder / "labels.json").write_text('["one", "two"]')
    with pytest.raises(BundleError, match=r"the classes of labels\.json"):
        load_bundle(folder)
    (folder / "labels.json").unlink()
    with pytest.raises(BundleError, match=r"labels\.json cannot be read"):
        load_bundle(folder)
    (folder / "labels.json").write_text(names)
    config = folder / "config.json"
    config.write_text(config.read_text().replace("test:labelled", "vgg19"))
    with pytest.raises(BundleError):
        load_bundle(folder)
