"""Captions on their way to the store and back: arrays stay arrays, and every answer has the same numbers."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from captioner.caption_json import caption_json, plain_numbers
from captioner.captioner import Caption
from captioner.images.fitting import ImageFrame
from captioner.labels.reader import PhotoLabel
from service.api.serializers import caption_document, streamed_words
from service.inference.captioning import CaptionService
from service.inference.documents import captions_of, to_stored
from service.store.captions import Store, StoredCaption

FRAME = ImageFrame(96, 64, (16.0, 0.0, 80.0, 64.0))
OPTIONS = {"beam_width": 3, "captions_per_image": 2, "max_words": 8}
SECONDS = {"decode_image": 0.1, "queue": 0.0, "encode": 0.2, "decode_words": 0.3}


def drawn_caption(words: int, seed: int, labelled: bool = False) -> Caption:
    """A caption with arrays as a decoder makes them: all bits of a float32 are in use."""
    random = np.random.default_rng(seed)
    maps = random.dirichlet(np.full(20, 0.3), words).reshape(words, 4, 5).astype(np.float32)
    labels = (PhotoLabel("zebra", 0.7), PhotoLabel("tabby", 0.2)) if labelled else ()
    return Caption(
        text="a zebra",
        words=tuple("a zebra on the grass".split()[:words]),
        tokens=tuple(range(4, 4 + words)),
        alphas=maps,
        gates=random.random(words).astype(np.float32),
        word_log_probs=-random.exponential(2, words).astype(np.float32),
        log_prob=-3.25,
        score=-0.5,
        frame=FRAME,
        labels=labels,
        word_labels=(None, 0, *[None] * (words - 2)) if labelled else (),
        label_maps={1: maps[0].T.reshape(4, 5)} if labelled else {},
    )


def stored(captions: Sequence[dict], arrays: dict[str, np.ndarray]) -> StoredCaption:
    document = {"captions": list(captions), "seen_box": list(FRAME.seen_box), "options": OPTIONS, "seconds": SECONDS}
    return StoredCaption(
        id="0" * 32,
        created_at=datetime(2026, 11, 23, tzinfo=UTC),
        caption="a zebra",
        probability=0.5,
        width=FRAME.width,
        height=FRAME.height,
        model_version="0123456789ab",
        document=document,
        arrays=arrays,
    )


def as_lists(caption: Caption) -> dict:
    """A caption as versions before schema 0005 stored it: everything in JSON."""
    (document,), _ = to_stored([caption])
    return document | {
        "alphas": plain_numbers(caption.alphas),
        "gates": plain_numbers(caption.gates),
        "word_log_probs": plain_numbers(caption.word_log_probs),
        "label_maps": {str(index): plain_numbers(label_map) for index, label_map in caption.label_maps.items()},
    }


@pytest.fixture
def captions() -> list[Caption]:
    return [drawn_caption(5, 1, labelled=True), drawn_caption(3, 2), drawn_caption(4, 3, labelled=True)]


def test_the_same_captions_come_back(captions):
    for caption, expected in zip(captions_of(stored(*to_stored(captions))), captions, strict=True):
        for name in ("text", "words", "tokens", "log_prob", "score", "frame", "labels", "word_labels"):
            assert getattr(caption, name) == getattr(expected, name), name
        for name in ("alphas", "gates", "word_log_probs", "maps"):
            np.testing.assert_allclose(getattr(caption, name), getattr(expected, name), rtol=0, atol=3e-7)
        assert list(caption.label_maps) == list(expected.label_maps)


def test_no_map_becomes_a_list_before_the_answer_is_written(captions, monkeypatch):
    """Between decoder and answer or store, the JSON values hold no numbers of maps."""
    converted = []
    monkeypatch.setattr("captioner.caption_json.plain_numbers", converted.append)
    monkeypatch.setattr("service.api.serializers.plain_numbers", converted.append)
    documents, arrays = to_stored(captions)
    answer = caption_document(stored(documents, arrays))
    assert converted == []
    assert answer.alphas.maps is arrays["0.alphas"], "the array that goes to the store goes into the answer"
    assert answer.words[1].label_map.base is arrays["0.label_maps"]
    assert all("alphas" not in document and len(json.dumps(document)) < 600 for document in documents)


def test_an_answer_has_the_numbers_of_the_decoder_to_seven_decimal_places(captions):
    answer = json.loads(caption_document(stored(*to_stored(captions))).model_dump_json())
    ranked = [answer, *answer["alternatives"]]
    for document, caption in zip(ranked, captions, strict=True):
        assert document["alphas"]["maps"] == caption.alphas.astype(float).round(7).tolist()
    assert answer["words"][1]["label_map"] == captions[0].label_maps[1].astype(float).round(7).tolist()
    assert [word["map_of"] for word in answer["words"]] == ["attention", "label"] + ["attention"] * 3
    assert {word["label_map"] is None for word in ranked[1]["words"]} == {True}


def test_an_answer_has_the_figures_of_the_json_form_of_captions(captions):
    entry = stored(*to_stored(captions))
    answer = json.loads(caption_document(entry).model_dump_json())
    for document, caption in zip([answer, *answer["alternatives"]], captions_of(entry), strict=True):
        expected = caption_json(caption)
        assert document["alphas"]["maps"] == [word.pop("alpha") for word in expected["words"]]
        for word, figures in zip(document["words"], expected.pop("words"), strict=True):
            assert figures.items() <= word.items()
        assert expected.items() <= document.items()


def test_streamed_words_have_the_figures_of_the_json_form(captions):
    words = caption_json(captions[0])["words"]
    for index, word in enumerate(streamed_words(captions[0], 1), start=1):
        assert word["index"] == index and word["map"] == words[index]["alpha"]
        names = word.keys() & words[index].keys()
        assert {"text", "probability", "gate", "spread", "map_of", "label"} <= names
        assert {name: word[name] for name in names} == {name: words[index][name] for name in names}


def test_an_answer_from_the_database_is_the_first_answer(captions, database):
    first, store = stored(*to_stored(captions)), Store(database)
    store.add(first)
    second = caption_document(store.get(first.id)).model_dump_json()
    assert second == caption_document(first).model_dump_json()


def test_a_row_that_a_replica_of_an_earlier_version_writes_gives_the_same_answer(captions):
    earlier = stored(map(as_lists, captions), {})
    now = stored(*to_stored(captions))
    assert caption_document(earlier).model_dump_json() == caption_document(now).model_dump_json()


def test_the_service_stores_arrays_of_all_captions(start, jpeg):
    running = start()
    answer = running.client.post("/api/captions?captions=2", content=jpeg, headers={"Content-Type": "image/jpeg"})
    service: CaptionService = running.service
    arrays = service.store.get(answer.json()["id"]).arrays
    assert set(arrays) == {f"{rank}.{name}" for rank in (0, 1) for name in ("alphas", "gates", "word_log_probs")}
    assert plain_numbers(arrays["0.alphas"]) == answer.json()["alphas"]["maps"]
