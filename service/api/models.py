"""Model versions: the captioner and the translators in use, and the versions that can replace them."""

import json
import tempfile
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from flask import Response, request, send_file
from flask_openapi3 import APIBlueprint, Tag

from captioner.bundle.json_files import load_vocabulary
from captioner.files import read_json
from service.api.operations import JPEG, SECURITY, current_service, jpeg_response, json_response
from service.api.retraining_schemas import (
    RollbackQuery,
    VersionDocument,
    VersionList,
    VersionPath,
    VersionPhotoPath,
)
from service.api.schemas import ModelDocument
from service.api.uploads import uploaded_zip, zip_body
from service.errors import Problem, problem_responses
from service.inference.captioning import CaptionService
from service.store.archives import pack, top_folder, unpack
from service.store.versions import Version

api = APIBlueprint(
    "models",
    __name__,
    url_prefix="/api/models",
    abp_tags=[Tag(name="models", description="The captioner in use, and the versions of it and of translators.")],
    abp_responses=problem_responses(422),
)

SENTENCES = 20
"""Number of sentences in the comparison of a translator."""

_ADMIN_ONLY = {"security": SECURITY}
_ADMIN_PROBLEMS = problem_responses(401, 404, 429)


@api.get("/current", responses={200: ModelDocument})
def current_model() -> Response:
    """Return the model card and the scores of the captioner in use."""
    service = current_service()
    serving = service.serving
    bundle = serving.captioner.bundle
    document = ModelDocument(
        version=serving.model_version,
        name=service.versions.get(serving.version).facts["name"],
        encoder=bundle.config.encoder,
        image_size=bundle.config.image_size,
        fit=bundle.config.fit,
        attention=bundle.config.attention,
        grid=list(serving.grid),
        words=len(bundle.vocabulary),
        decoding=bundle.decoding.to_json(),
        scores={split: bundle.metrics[split] for split in ("validation", "test") if split in bundle.metrics},
        card=bundle.card,
        device=str(serving.captioner.device),
    )
    return json_response(document)


@api.get("", responses={200: VersionList} | problem_responses(401, 429), **_ADMIN_ONLY)
def list_models() -> Response:
    """List all captioners and all versions of translators, newest first, the built-in captioner last."""
    service = current_service()
    return json_response(VersionList(models=[_document(service, version) for version in service.versions.all()]))


@api.post(
    "",
    responses={201: VersionDocument} | problem_responses(400, 401, 413, 415, 429, 507),
    openapi_extensions={"requestBody": zip_body("a bundle")},
    **_ADMIN_ONLY,
)
def upload_model() -> Response:
    """Add a captioner or a translator from a zip of its bundle, such as a download. Promote it to use it."""
    service = current_service()
    home = service.settings.home
    with uploaded_zip(request) as upload, tempfile.TemporaryDirectory(prefix=".add-", dir=home) as folder:
        unpack(upload.file, Path(folder), service.storage.free_bytes(service.settings.max_dataset_bytes))
        version = service.versions.add(top_folder(Path(folder)), {"name": upload.name, "origin": "upload"})
    response = json_response(_document(service, version), 201)
    response.headers["Location"] = f"/api/models/{version.id}"
    return response


@api.post("/rollback", responses={200: VersionDocument, 204: None} | problem_responses(401, 409, 429), **_ADMIN_ONLY)
def roll_back(query: RollbackQuery) -> Response:
    """Switch back to the previous captioner, or to the previous translator to a language, from the next request on.

    The answer is empty (204) if there was no translator to that language before.
    """
    service = current_service()
    version = service.switch.rollback() if query.language is None else service.translators.rollback(query.language)
    return Response(status=204) if version is None else json_response(_document(service, version))


@api.get("/<version:version>", responses={200: VersionDocument} | _ADMIN_PROBLEMS, **_ADMIN_ONLY)
def get_model(path: VersionPath) -> Response:
    """Return one version: its training data, training options and scores next to the previous version's."""
    service = current_service()
    return json_response(_document(service, service.versions.get(path.version)))


@api.delete("/<version:version>", responses={204: None} | _ADMIN_PROBLEMS | problem_responses(409), **_ADMIN_ONLY)
def delete_model(path: VersionPath) -> Response:
    """Delete a version. Those in use and the built-in captioner cannot be deleted."""
    service = current_service()
    if _is_current(service, service.versions.get(path.version)):
        raise Problem(409, f"Model version {path.version} is in use: promote another version or roll back first.")
    service.versions.delete(path.version)
    return Response(status=204)


@api.post("/<version:version>/promote", responses={200: VersionDocument} | _ADMIN_PROBLEMS, **_ADMIN_ONLY)
def promote_model(path: VersionPath) -> Response:
    """Use this captioner, or this translator for its language, from the next request on.

    Requests in progress finish with the previous one.
    """
    service = current_service()
    version = service.versions.get(path.version)
    if version.language:
        service.translators.promote(version)
    else:
        service.switch.promote(version.id)
    return json_response(_document(service, version))


@api.get(
    "/<version:version>/bundle.zip",
    responses={200: {"description": "The bundle.", "content": {"application/zip": {}}}} | _ADMIN_PROBLEMS,
    **_ADMIN_ONLY,
)
def download_model(path: VersionPath) -> Response:
    """Download the captioner or translator as a zip: unpacked, it is a bundle folder that every command accepts."""
    version = current_service().versions.get(path.version)
    file = tempfile.TemporaryFile()
    pack(version.bundle, file)
    file.seek(0)
    name = f"{_kind(version)}-{version.id}.zip"
    return send_file(file, mimetype="application/zip", as_attachment=True, download_name=name)


@api.get(
    "/<version:version>/comparison",
    responses={200: {"description": "Photos, or sentences of a translator."}} | _ADMIN_PROBLEMS,
    **_ADMIN_ONLY,
)
def get_comparison(path: VersionPath) -> dict[str, Any]:
    """Return held-out photos with the captions and attention maps of this captioner and of the previous one.

    Of a translator, held-out `sentences`, each with the `new` and the `old` translation; `old` is null for the first
    translator to a language.
    """
    version = current_service().versions.get(path.version)
    if version.language:
        return {"sentences": _compared_sentences(version)}
    return {"photos": [photo | {"photo": _photo_url(version, photo)} for photo in _read_comparison(version)["photos"]]}


@api.get(
    "/<version:version>/comparison/<int:number>.jpg",
    responses=JPEG | _ADMIN_PROBLEMS,
    **_ADMIN_ONLY,
)
def get_comparison_photo(path: VersionPhotoPath) -> Response:
    """Return a photo of the comparison."""
    version = current_service().versions.get(path.version)
    file = version.comparison and version.comparison / "photos" / f"{path.number}.jpg"
    if file is None or not file.is_file():
        raise Problem(404, f"Photo {path.number} does not exist in the comparison of model version {path.version}.")
    return jpeg_response(file.read_bytes())


def _read_comparison(version: Version) -> dict[str, Any]:
    """Read the result of `training compare`. Raises Problem (404) if the version was not compared."""
    values = None if version.comparison is None else read_json(version.comparison / "comparison.json")
    if values is None:
        raise _not_compared(version)
    return values


def _not_compared(version: Version) -> Problem:
    return Problem(404, f"Model version {version.id} has no comparison: only versions trained here have one.")


def _compared_sentences(version: Version) -> list[dict[str, Any]]:
    """Read the first results of `training evaluate-translator`. Raises Problem (404) if it was not compared."""
    if version.comparison is None:
        raise _not_compared(version)
    new, old = (_translations(version.comparison / name / "translations.jsonl") for name in ("new", "old"))
    return [{"new": each, "old": before} for each, before in zip_longest(new, old)]


def _translations(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, SENTENCES)]


def _photo_url(version: Version, photo: dict[str, Any]) -> str:
    return f"/api/models/{version.id}/comparison/{Path(photo['photo']).name}"


def _document(service: CaptionService, version: Version) -> VersionDocument:
    return VersionDocument(
        version=version.id,
        kind=_kind(version),
        language=version.language or None,
        current=_is_current(service, version),
        words=_vocabulary_size(version),
        card=_read_card(version),
        compared=version.comparison is not None,
        **version.facts,
    )


def _kind(version: Version) -> str:
    return "translator" if version.language else "captioner"


def _is_current(service: CaptionService, version: Version) -> bool:
    in_use = service.translators.version(version.language) if version.language else service.serving.version
    return version.id == in_use


def _vocabulary_size(version: Version) -> int:
    if version.language:
        return len(read_json(version.bundle / "target.json")["pieces"])
    return len(load_vocabulary(version.bundle))


def _read_card(version: Version) -> str:
    path = version.bundle / "README.md"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
