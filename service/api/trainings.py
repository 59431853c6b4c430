"""Trainings: start, follow, cancel, resume and delete them."""

import io
from pathlib import Path
from typing import Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from captioner.errors import ConfigError, DataError
from captioner.images.photo import open_image
from captioner.translation.bundle_json import read_languages
from captioner.translation.languages import language_code, same_languages
from service import training_process
from service.api.following import event, follow
from service.api.operations import JPEG, SECURITY, current_service, jpeg_response, json_response
from service.api.retraining_schemas import (
    SamplePath,
    TrainingBody,
    TrainingDocument,
    TrainingList,
    TrainingPath,
)
from service.api.schema_parts import event_stream
from service.api.training_serializers import sample_file, training_document
from service.errors import Problem, problem_responses
from service.inference.captioning import CaptionService
from service.jobs.trainings import ENDED, Training
from service.store.datasets import PARALLEL_TEXT, PHOTOS, StoredDataSet
from service.store.translators import find_translator, translator_in_use
from service.store.versions import Version

api = APIBlueprint(
    "trainings",
    __name__,
    url_prefix="/api/trainings",
    abp_tags=[Tag(name="trainings", description="Trainings of new captioners and translators.")],
    abp_responses=problem_responses(401, 422, 429),
    abp_security=SECURITY,
)

_SAMPLE_SIDE = 480
_STREAM = {
    200: event_stream("An event `training` for each change; its data is the document that GET returns.", "training")
}


@api.get("", responses={200: TrainingList})
def list_trainings() -> Response:
    """List all trainings, newest first."""
    service = current_service()
    documents = [_document(service, training, brief=True) for training in service.trainings.all()]
    return json_response(TrainingList(trainings=documents))


@api.post("", responses={201: TrainingDocument} | problem_responses(400, 404, 409, 415, 507))
def begin_training(body: TrainingBody) -> Response:
    """Queue a training, of a translator if the data set is parallel text. It starts when those before it have ended."""
    service = current_service()
    data = service.datasets.get(body.dataset)
    if not data.usable:
        raise Problem(409, f"Data set {data.name} cannot be used for training. {data.report['advice'][0]}")
    request, bundle = (_translator_request if data.kind == PARALLEL_TEXT else _captioner_request)(service, body, data)
    training = service.trainings.add(request | {"chosen": _choose_options(service, request, data, bundle)})
    service.queue.wake_worker()
    response = json_response(_document(service, training), 201)
    response.headers["Location"] = f"/api/trainings/{training.id}"
    return response


@api.get("/<caption_id:id>", responses={200: TrainingDocument} | problem_responses(404))
def get_training(path: TrainingPath) -> Response:
    """Return the state of a training: its progress, scores so far and sample captions or translations."""
    service = current_service()
    return json_response(_document(service, service.trainings.get(path.id)))


@api.get("/<caption_id:id>/events", responses=_STREAM | problem_responses(404, 503))
def follow_training(path: TrainingPath) -> Response:
    """Return the state as server-sent events until the training ends."""
    service = current_service()
    service.trainings.get(path.id)
    last_document = None

    def poll() -> tuple[list[str], bool]:
        nonlocal last_document
        training = service.trainings.find(path.id)
        if training is None:  # deleted
            return [], True
        document = _document(service, training).model_dump_json()
        is_new, last_document = document != last_document, document
        return [event("training", document)] if is_new else [], training.status in ENDED

    return follow(service, poll)


@api.post("/<caption_id:id>/cancel", responses={200: TrainingDocument} | problem_responses(404, 409))
def cancel_training(path: TrainingPath) -> Response:
    """Stop a training within seconds. Its checkpoints are kept, so it can be resumed."""
    service = current_service()
    return json_response(_document(service, service.trainings.cancel(path.id)))


@api.post("/<caption_id:id>/resume", responses={200: TrainingDocument} | problem_responses(404, 409))
def resume_training(path: TrainingPath) -> Response:
    """Resume a cancelled or failed training from its last checkpoint."""
    service = current_service()
    training = service.trainings.resume(path.id)
    service.queue.wake_worker()
    return json_response(_document(service, training))


@api.delete("/<caption_id:id>", responses={204: None} | problem_responses(404, 409))
def delete_training(path: TrainingPath) -> Response:
    """Delete a training that is not running. The version that it produced is kept."""
    current_service().trainings.delete(path.id)
    return Response(status=204)


@api.get(
    "/<caption_id:id>/log",
    responses={200: {"description": "The log.", "content": {"text/plain": {}}}} | problem_responses(404),
)
def get_log(path: TrainingPath) -> Response:
    """Return the output of a training's processes: the last 100,000 bytes."""
    training = current_service().trainings.get(path.id)
    try:
        with open(training.log, "rb") as file:
            size = file.seek(0, io.SEEK_END)
            file.seek(max(0, size - 100_000))
            output = file.read()
    except FileNotFoundError:
        output = b""
    return Response(output.decode("utf-8", errors="replace"), content_type="text/plain; charset=utf-8")


@api.get(
    "/<caption_id:id>/samples/<int:number>.jpg",
    responses=JPEG | problem_responses(404),
)
def get_sample(path: SamplePath) -> Response:
    """Return a validation photo that the training captions after each epoch."""
    file = sample_file(current_service().trainings.get(path.id), path.number)
    if file is None or not file.is_file():
        raise Problem(404, f"Sample {path.number} of training {path.id} does not exist.")
    photo = open_image(file)
    photo.thumbnail((_SAMPLE_SIDE, _SAMPLE_SIDE))
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=85)
    return jpeg_response(buffer.getvalue())


def _captioner_request(
    service: CaptionService, body: TrainingBody, _: StoredDataSet
) -> tuple[dict[str, Any], Path | None]:
    """Return the request of a captioner's training, and the bundle that it starts from, if any."""
    if body.replay is not None:
        if body.start == "scratch":
            raise Problem(422, "replay needs a captioner to start from: leave it out, or change start.")
        if service.datasets.get(body.replay).kind != PHOTOS:
            raise Problem(422, "replay is parallel text, and a captioner learns from photos: name another data set.")
    start = service.serving.version if body.start == "current" else body.start
    version = None if start == "scratch" else service.versions.get(start)
    if version is not None and version.language:
        raise Problem(422, f"Model version {start} is a translator: name a captioner to start from.")
    return body.model_dump() | {"start": start, "source": None, "target": None}, version and version.bundle


def _translator_request(
    service: CaptionService, body: TrainingBody, data: StoredDataSet
) -> tuple[dict[str, Any], Path | None]:
    """Return the request of a translator's training, and the bundle that it starts from, if any."""
    if body.replay is not None:
        raise Problem(422, "replay is for captioners, and the data set trains a translator: leave it out.")
    source, target = data.report["source"], _name_in_use(service, data.report["target"])
    start = _translator_to_start_from(service, body.start, source, target)
    values = {"start": start.id if start else "scratch", "source": source, "target": target}
    return body.model_dump() | values, start and start.bundle


def _name_in_use(service: CaptionService, language: str) -> str:
    """Return the name by which requests know a language, if there is a translator to it: pt-BR for pt_br."""
    names = (facts.language for facts in service.translators.all())
    return next((name for name in names if language_code(name) == language_code(language)), language)


def _translator_to_start_from(service: CaptionService, start: str, source: str, target: str) -> Version | None:
    """Return the translator that a training starts from; None for scratch, or if none in use has these languages.

    Raises Problem (422) for a version that is no such translator, and UnknownVersion.
    """
    if start == "scratch":
        return None
    folders = service.settings.translator_folders
    if start == "current":
        version = translator_in_use(service.versions, folders, source, target)
        return version if version and same_languages(read_languages(version.bundle), (source, target)) else None
    version = find_translator(service.versions, folders, start, target)
    if version is None:
        raise Problem(422, f"There is no built-in translator for the language {target!r}: change start.")
    if not version.language:
        raise Problem(422, f"Model version {start} is a captioner: name a translator to start from.")
    languages = read_languages(version.bundle)
    if not same_languages(languages, (source, target)):
        raise Problem(
            422,
            f"Model version {start} translates {languages[0]} into {languages[1]}, and the data set has {source} and"
            f" {target}: name another translator to start from, or scratch.",
        )
    return version


def _choose_options(
    service: CaptionService, request: dict[str, Any], data: StoredDataSet, bundle: Path | None
) -> dict[str, Any]:
    """Return all options of a training as `training fit` chooses them. Raises ConfigError if it refuses any."""
    try:
        folder = service.settings.home
        return training_process.chosen_options(request, data.root, bundle, folder, service.run_training)
    except DataError as error:
        message = str(error)
        if bundle is not None:  # the message must not reveal the server's folders
            message = message.replace(str(bundle), f"model version {request['start']}")
        raise ConfigError(message) from error


def _document(service: CaptionService, training: Training, brief: bool = False) -> TrainingDocument:
    return training_document(training, service.trainings, service.datasets, brief)
