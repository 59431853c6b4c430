"""The model card names the captioner, its data and its scores."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from captioner.config import DecodingOptions
from captioner.text.vocabulary import SPECIAL_WORDS
from training.data.replay import ReplayDataset
from training.options import FitOptions
from training.runs.card import model_card

BEST = {"epoch": 7, "phase": "self_critical", "CIDEr": 0.7123, "Bleu_1": 0.6512, "Bleu_4": 0.2449}


class Sentences(SimpleNamespace):
    """A number of sentences from some files."""

    def __init__(self, files, count):
        super().__init__(files=files, count=count)

    def __len__(self):
        return self.count


class Train(list):
    """As long as it has records."""

    @property
    def records(self):
        return list(self)

    new_records = records
    balance = None


@pytest.fixture
def setup(tiny_config):
    train = Train(SimpleNamespace(captions=("a", "b")) for _ in range(1200))
    return SimpleNamespace(
        config=tiny_config,
        decoding=DecodingOptions(beam_width=4),
        vocabulary=[*SPECIAL_WORDS, "dog"],
        encoder_weights=SimpleNamespace(source="file:mine.safetensors"),
        data=SimpleNamespace(names=("my photos",), replay=None, boxes=None),
        words=SimpleNamespace(sentences=None),
        start=None,
        frozen=SimpleNamespace(train=train, validator=SimpleNamespace(data=range(1000))),
    )


def test_the_card_names_the_captioner_that_a_run_started_from(setup):
    assert "Started from" not in card(setup)
    setup.start = SimpleNamespace(card="# Flickr8k captioner\n\nAn image", vocabulary=[*SPECIAL_WORDS])
    assert "Started from: Flickr8k captioner; 1 new word. - Training" in card(setup)
    assert "Kept close to that captioner by distillation, weight 0.5." in card(setup, distillation_weight=0.5)


def test_the_card_counts_new_and_replayed_photos_separately(setup):
    train = object.__new__(ReplayDataset)
    train.records, train.new_images, train.balance = [SimpleNamespace(captions=("a",))] * 50, 20, None
    setup.frozen.train = train
    setup.start = SimpleNamespace(card="", vocabulary=[*SPECIAL_WORDS, "dog"])
    setup.data.replay = SimpleNamespace(name="coco")
    text = card(setup, replay_share=0.25)
    assert "Data: 20 photos with 20 captions of my photos" in text
    assert "Started from: another captioner; 0 new words" in text
    assert "25% of each batch were drawn from 30 photos of coco." in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "soft attention (additive score of 8, relu, queried by the state)"),
        ({"attention": "hard", "score": "dot"}, "hard attention (dot score of 8, queried by the state)"),
        ({"score": "general", "query": "hidden_word"}, "(general score, queried by the state and the last word)"),
        ({"attention": "none"}, "no attention (the mean of all locations, the same for every word)"),
    ],
)
def test_the_card_names_the_kind_of_attention(setup, options, expected):
    setup.config = replace(setup.config, **options)
    assert expected in card(setup)


def test_the_card_names_the_boxes_that_supervised_the_maps(setup):
    assert "was supervised" not in card(setup)
    setup.data.boxes = SimpleNamespace(name="entities")
    assert "Attention of words that name an object was supervised: boxes of entities, weight 2." in card(
        setup, supervision_weight=2.0
    )
    assert "was supervised" not in card(setup, supervision_weight=0.0)


def card(setup, **options):
    return " ".join(model_card(setup, FitOptions(**options), BEST).split())


def test_the_card_names_model_data_and_weights(setup):
    text = card(setup)
    for phrase in (
        "# my photos captioner", "`timm:test_efficientnet.r160_in1k`, weights from `file:mine.safetensors`",
        "64 x 64 pixels, fitted by `crop`", "LSTM of 16, soft attention", ", 5 words",
        "1,200 photos with 2,400 captions of my photos", "these weights are of epoch 7 (self_critical)",
    ):  # fmt: skip
        assert phrase in text


def test_the_card_gives_the_scores_and_their_conditions(setup):
    text = card(setup)
    assert "validation, 1,000 photos, beam 4" in text
    assert "| CIDEr | 0.712 | | Bleu_1 | 0.651 | | Bleu_4 | 0.245 |" in text


def test_the_card_lists_the_phases_of_the_run(setup):
    assert "at most 20 epochs of captions; these" in card(setup)
    text = card(setup, epochs=3, fine_tune_epochs=2, fine_tune_stages=1, self_critical_epochs=4)
    assert "3 epochs of captions, then 2 with the encoder's last stages fine-tuned, then 4 of self-critical" in text
    assert "at most 4 of self-critical training;" in card(setup, epochs=0, self_critical_epochs=4)


def test_the_card_counts_the_sentences_without_photos(setup):
    assert "without photos" not in card(setup)
    setup.words.sentences = Sentences(["coco.txt.gz", "mine.txt"], 237_037)
    text = card(setup, sentence_weight=0.25)
    assert "Text without photos: 237,037 sentences of coco.txt.gz, mine.txt, weight 0.25." in text
    assert "of coco.txt.gz, mine.txt, for their words only." in card(setup, sentence_weight=0.0)
