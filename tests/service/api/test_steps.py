"""Steps of stored captions: scores, weights, gate and likeliest words of each word."""

import io
from dataclasses import replace

import httpx
import numpy as np
import pytest
import torch

from captioner.bundle.bundle import save_bundle
from captioner.captioner import Captioner
from captioner.model.label_attention import LabelAttention, Labels
from captioner.steps import CaptionSteps
from captioner.text.vocabulary import END
from service.store.archives import pack
from stress.tiny_captioner import tiny_bundle as make_tiny_bundle
from tests.support.stored_captions import create_caption


@pytest.fixture
def tiny_config(tiny_config):
    """With more than the four locations of other tests, so that maps differ."""
    return replace(tiny_config, image_size=160)


@pytest.fixture
def document(client, jpeg) -> dict:
    return create_caption(client, jpeg)


def address(document: dict) -> str:
    return f"/api/captions/{document['id']}/steps"


def steps_of(client: httpx.Client, document: dict, **query) -> dict:
    response = client.get(address(document), params=query)
    assert response.status_code == 200, response.text
    return response.json()


def values_of(answer: dict, name: str) -> np.ndarray:
    return np.array([step[name] for step in answer["steps"]])


def test_steps_equal_the_librarys(running, client, document):
    photo, captioner = running.service.photos.open(document["id"]), running.service.serving.captioner
    vocabulary = captioner.bundle.vocabulary
    (captions,) = captioner.captions([photo], replace(captioner.decoding, captions_per_image=2))
    ranked = [document, *document["alternatives"]]
    for rank, (caption, expected_document) in enumerate(zip(captions, ranked, strict=True), start=1):
        answer, expected = steps_of(client, document, caption=rank), captioner.steps(photo, caption)
        assert answer["caption"] == expected_document["caption"] == caption.text
        assert [step["word"] for step in answer["steps"]] == list(caption.words)
        assert (answer["attention"], answer["read"]) == ("soft", "sum")
        assert (answer["rows"], answer["columns"]) == caption.alphas.shape[1:]
        for name, values in (("scores", expected.scores), ("weights", expected.alphas)):
            np.testing.assert_allclose(values_of(answer, name), values.reshape(caption.alphas.shape), atol=1e-5)
        np.testing.assert_allclose(values_of(answer, "gate"), expected.gates, atol=1e-5)
        np.testing.assert_allclose(values_of(answer, "probability"), np.exp(expected.word_log_probs), atol=1e-5)
        for step, tokens, log_probs in zip(
            answer["steps"], expected.candidates, expected.candidate_log_probs, strict=True
        ):
            texts = [None if token == END else vocabulary.words[token] for token in tokens]
            assert [candidate["text"] for candidate in step["candidates"]] == texts and len(texts) == 5
            probabilities = [candidate["probability"] for candidate in step["candidates"]]
            np.testing.assert_allclose(probabilities, np.exp(log_probs), atol=1e-5)
            assert step["label_weights"] == []


def test_weights_are_the_softmax_of_the_scores_and_those_of_the_stored_caption(client, document):
    answer = steps_of(client, document)
    scores, weights = values_of(answer, "scores"), values_of(answer, "weights")
    powers = np.exp(scores)
    np.testing.assert_allclose(weights, powers / powers.sum(axis=(1, 2), keepdims=True), atol=1e-4)
    # Not exactly: the stored photo is compressed once more.
    np.testing.assert_allclose(weights, document["alphas"]["maps"], atol=0.02)


def test_without_attention_there_are_no_scores_and_weights_are_uniform(start, tiny_config, jpeg):
    bundle = make_tiny_bundle(config=replace(tiny_config, attention="none"))
    client = start(Captioner(bundle, "cpu")).client
    answer = steps_of(client, create_caption(client, jpeg))
    assert answer["attention"] == "none" and answer["steps"]
    for step in answer["steps"]:
        assert step["scores"] is None
        np.testing.assert_allclose(step["weights"], 1 / (answer["rows"] * answer["columns"]), atol=1e-6)


@pytest.mark.parametrize(("hard_context", "read"), [("likeliest", "location"), ("expected", "sum")])
def test_the_answer_says_what_hard_attention_read(start, tiny_config, jpeg, hard_context, read):
    bundle = make_tiny_bundle(config=replace(tiny_config, attention="hard"))
    bundle = replace(bundle, decoding=replace(bundle.decoding, hard_context=hard_context))
    client = start(Captioner(bundle, "cpu")).client
    answer = steps_of(client, create_caption(client, jpeg))
    assert (answer["attention"], answer["read"]) == ("hard", read)


def test_labels_have_weights(start, labelled_bundle, jpeg):
    client = start(Captioner(labelled_bundle, "cpu")).client
    document = create_caption(client, jpeg)
    names = [label["name"] for label in document["labels"]]
    for step in steps_of(client, document)["steps"]:
        assert [label["name"] for label in step["label_weights"]] == [*names, None]
        assert sum(label["weight"] for label in step["label_weights"]) == pytest.approx(1, abs=1e-5)


def test_label_weights_have_the_names_of_the_recomputed_labels(start, labelled_bundle, jpeg, monkeypatch):
    """The photo is compressed once more when it is stored, which may change the order of equally likely labels."""
    client = start(Captioner(labelled_bundle, "cpu")).client
    document = create_caption(client, jpeg)
    before = steps_of(client, document)["steps"]
    labels_of = LabelAttention.labels_of

    def flipped_labels_of(attention: LabelAttention, mean: torch.Tensor) -> Labels:
        labels = labels_of(attention, mean)
        return Labels(labels.classes.flip(-1), labels.probabilities.flip(-1))

    monkeypatch.setattr(LabelAttention, "labels_of", flipped_labels_of)
    for step, step_before in zip(steps_of(client, document)["steps"], before, strict=True):
        weights, weights_before = (
            {label["name"]: label["weight"] for label in each["label_weights"]} for each in (step, step_before)
        )
        assert list(weights) != list(weights_before) and weights == pytest.approx(weights_before, abs=1e-5)


def test_a_busy_service_answers_503_and_steps_wait_with_occlusion_maps(start, jpeg):
    running = start(deadline_seconds=1)
    document = create_caption(running.client, jpeg)
    with running.service.recomputation._lock:
        response = running.client.get(address(document))
    assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0
    assert steps_of(running.client, document)["steps"]


def test_captions_of_another_captioner_have_no_steps(client, document, make_bundle, tmp_path):
    save_bundle(make_bundle(seed=5), tmp_path / "other")
    file = io.BytesIO()
    pack(tmp_path / "other", file)
    added = client.post("/api/models", content=file.getvalue(), headers={"Content-Type": "application/zip"}).json()
    client.post(f"/api/models/{added['version']}/promote").raise_for_status()
    response = client.get(address(document))
    assert response.status_code == 409 and response.headers["Content-Type"] == "application/problem+json"
    detail = response.json()["detail"]
    assert document["id"] in detail and "has no steps" in detail and "caption the photo again" in detail
    client.post("/api/models/rollback").raise_for_status()
    assert steps_of(client, document)["steps"]


def test_deleted_captions_and_photos_have_no_steps(running, client, jpeg):
    for delete in (
        lambda caption_id: client.delete(f"/api/captions/{caption_id}").raise_for_status(),
        running.service.photos.delete,
    ):
        document = create_caption(client, jpeg)
        delete(document["id"])
        response = client.get(address(document))
        assert response.status_code == 404 and "deleted" in response.json()["detail"]


@pytest.mark.parametrize(
    "query, status, message",
    [("caption=3", 404, "count from 1"), ("caption=0", 422, "caption"), ("word=1", 422, "no such option")],
)
def test_an_invalid_request_is_a_problem(client, document, monkeypatch, query, status, message):
    def refuse(*_) -> CaptionSteps:
        raise AssertionError("an invalid request was computed")

    monkeypatch.setattr(Captioner, "steps", refuse)
    response = client.get(f"{address(document)}?{query}")
    assert response.status_code == status and message in response.json()["detail"]


def test_an_unknown_id_is_a_problem(client):
    assert client.get(f"/api/captions/{'0' * 32}/steps").status_code == 404
