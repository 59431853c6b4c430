"""Data sets for training: add, inspect and delete them."""

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from werkzeug.exceptions import BadRequest

from service.api.operations import JPEG, SECURITY, current_service, jpeg_response, json_response
from service.api.retraining_schemas import (
    DataSetDocument,
    DataSetList,
    DataSetPath,
    DataSetQuery,
    DataSetSource,
    DataSetSummary,
    ThumbnailPath,
)
from service.api.uploads import uploaded_zip, zip_body
from service.errors import NOT_JSON, Problem, problem_responses
from service.store.datasets import PARALLEL_TEXT, PHOTOS, DataSetInUse, Languages, StoredDataSet

api = APIBlueprint(
    "datasets",
    __name__,
    url_prefix="/api/datasets",
    abp_tags=[Tag(name="datasets", description="Captioned photos and parallel text to train on.")],
    abp_responses=problem_responses(401, 422, 429),
    abp_security=SECURITY,
)

_REQUEST_BODY = zip_body("photos with their captions, or of parallel text, in any supported layout")
_REQUEST_BODY["content"]["application/json"] = {"schema": DataSetSource.model_json_schema()}


@api.get("", responses={200: DataSetList})
def list_datasets() -> Response:
    """List the data sets, newest first, without their reports."""
    summaries = [DataSetSummary(**_summary_fields(data)) for data in current_service().datasets.all()]
    return json_response(DataSetList(datasets=summaries))


@api.post(
    "",
    responses={201: DataSetDocument} | problem_responses(400, 413, 415, 503, 507),
    openapi_extensions={"requestBody": _REQUEST_BODY},
)
def bring_dataset(query: DataSetQuery) -> Response:
    """Add captioned photos: a zip, or as JSON a folder on the server or the corrections that users made.

    With `kind=parallel_text`, add sentences and their translations: two files of lines (train.en and train.de), TSV,
    CSV, JSON lines or TMX. The answer reports what was found, and every problem. A data set that cannot be read is not
    kept.
    """
    service = current_service()
    bundle = service.versions.get(service.serving.version).bundle
    languages = Languages(query.source, query.target) if query.kind == PARALLEL_TEXT else None
    if request.mimetype == "application/json":
        source = _read_source()
        if source.corrections:
            if languages is not None:
                raise Problem(422, "Corrections are captions of photos: leave out kind=parallel_text.")
            captions = service.store.corrected_captions()
            data = service.datasets.add_corrections(captions, service.photos, query.name or source.name, bundle)
        else:
            data = service.datasets.add_folder(source.folder or ".", query.name or source.name, bundle, languages)
    else:
        with uploaded_zip(request) as upload:
            max_bytes = service.storage.free_bytes(service.settings.max_dataset_bytes)
            data = service.datasets.add_zip(upload.file, upload.name, bundle, max_bytes, languages)
    response = json_response(dataset_document(data), 201)
    response.headers["Location"] = f"/api/datasets/{data.id}"
    return response


@api.get("/<caption_id:id>", responses={200: DataSetDocument} | problem_responses(404))
def get_dataset(path: DataSetPath) -> Response:
    """Return one data set with its report."""
    return json_response(dataset_document(current_service().datasets.get(path.id)))


@api.delete("/<caption_id:id>", responses={204: None} | problem_responses(404, 409))
def delete_dataset(path: DataSetPath) -> Response:
    """Delete a data set. A folder on the server is left unchanged."""
    service = current_service()
    if service.trainings.uses_dataset(path.id):
        raise DataSetInUse(f"data set {path.id} is used by a queued or running training: cancel that training first")
    service.datasets.delete(path.id)
    return Response(status=204)


@api.get(
    "/<caption_id:id>/thumbnails/<int:number>.jpg",
    responses=JPEG | problem_responses(404),
)
def get_thumbnail(path: ThumbnailPath) -> Response:
    """Return the thumbnail of a sample."""
    file = current_service().datasets.get(path.id).folder / "thumbnails" / f"{path.number}.jpg"
    if not file.is_file():
        raise Problem(404, f"Sample {path.number} of data set {path.id} does not exist.")
    return jpeg_response(file.read_bytes())


def _read_source() -> DataSetSource:
    try:
        return DataSetSource.model_validate(request.get_json())
    except BadRequest as error:
        raise Problem(400, NOT_JSON) from error


def _summary_fields(data: StoredDataSet) -> dict[str, Any]:
    total = data.report["total"]
    return {
        "id": data.id,
        "name": data.name,
        "origin": data.origin,
        "created_at": data.created_at,
        "usable": data.usable,
        "kind": data.kind,
        "images": total.get("images", 0),
        "captions": total.get("captions", 0),
        "pairs": total.get("pairs", 0),
        "source": data.report.get("source"),
        "target": data.report.get("target"),
    }


def dataset_document(data: StoredDataSet) -> DataSetDocument:
    """Return the API document of a data set."""
    report = dict(data.report)
    if data.kind == PHOTOS:
        report["samples"] = [
            sample | {"thumbnail": f"/api/datasets/{data.id}/thumbnails/{sample['thumbnail']}"}
            for sample in report["samples"]
        ]
    return DataSetDocument(**_summary_fields(data), report=report)
