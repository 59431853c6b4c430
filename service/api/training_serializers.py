"""Serialize trainings for the API from the files that their processes write."""

import json
from pathlib import Path
from typing import Any

from captioner.files import read_json
from service.api.retraining_schemas import EpochDocument, Named, SampleDocument, SampleSentence, TrainingDocument
from service.jobs.trainings import QUEUED, RUNNING, Training, Trainings
from service.store.datasets import DataSets

_STAGES = {"finished": "comparing"}  # `fit` has finished and `compare` has not yet started


def training_document(
    training: Training, trainings: Trainings, datasets: DataSets, brief: bool = False
) -> TrainingDocument:
    """Return the API document of a training. brief: leave out epochs, samples and sentences."""
    request, state = training.request, training.state
    position = None
    if training.status == QUEUED:
        waiting_ids = [queued.id for queued in trainings.waiting()]
        position = waiting_ids.index(training.id) + 1 if training.id in waiting_ids else None
    started_at, ended_at = state.get("started_at"), state.get("ended_at")
    return TrainingDocument(
        id=training.id,
        kind="captioner" if request["target"] is None else "translator",
        source=request["source"],
        target=request["target"],
        created_at=request["created_at"],
        dataset=_dataset_reference(datasets, request["dataset"]),
        replay=_dataset_reference(datasets, request["replay"]) if request["replay"] else None,
        start=request["start"],
        preset=request["preset"],
        options=request["chosen"],
        promote_margin=request["promote_margin"],
        state=training.status,
        position=position,
        message=state.get("message"),
        stopping=training.status == RUNNING and training.cancelling,
        started_at=started_at,
        ended_at=ended_at,
        progress=_read_progress(training),
        seconds=state.get("seconds", {}),
        epochs=[] if brief else _read_epochs(training),
        samples=[] if brief else _sample_documents(training),
        sentences=[] if brief else [SampleSentence(**sentence) for sentence in _read_samples(training, "sentences")],
        version=state.get("version"),
        promoted=state.get("promoted", False),
    )


def sample_file(training: Training, number: int) -> Path | None:
    """Return the file of a validation photo; None if there is none of this number."""
    photos = _read_samples(training, "photos")
    return Path(photos[number]["photo"]) if 0 <= number < len(photos) else None


def _dataset_reference(datasets: DataSets, dataset_id: str) -> Named:
    data = datasets.find(dataset_id)
    return Named(id=dataset_id, name=data.name if data else "deleted")


def _read_progress(training: Training) -> dict[str, Any] | None:
    """Return the current progress; None if the training is not running."""
    if training.status != RUNNING:
        return None
    comparison_progress = training.comparison / "progress.json"
    source = comparison_progress if comparison_progress.exists() else training.run / "progress.json"
    progress = read_json(source, {"stage": "starting"})
    return progress | {"stage": _STAGES.get(progress["stage"], progress["stage"])}


def _read_epochs(training: Training) -> list[EpochDocument]:
    try:
        lines = (training.run / "log.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    epochs = []
    for line in lines:
        try:
            values = json.loads(line)
        except ValueError:  # the line is still being written
            break
        losses = {name.removesuffix("_loss"): value for name, value in values.items() if name.endswith("_loss")}
        document = {name: values.get(name) for name in EpochDocument.model_fields}
        epochs.append(EpochDocument(**document | {"losses": losses}))
    return epochs


def _sample_documents(training: Training) -> list[SampleDocument]:
    return [
        SampleDocument(
            photo=f"/api/trainings/{training.id}/samples/{number}.jpg",
            references=photo["references"],
            captions=photo["captions"],
        )
        for number, photo in enumerate(_read_samples(training, "photos"))
    ]


def _read_samples(training: Training, kind: str) -> list[dict[str, Any]]:
    """Return the samples of a training. kind: photos of a captioner, sentences of a translator."""
    return read_json(training.run / "samples.json", {}).get(kind, [])
