"""The promises that a service made in its answers, and checks that it kept them after a kill."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx

_EXPECTED_HIDDEN = (".lock", ".heartbeat")
"""Hidden files that are kept."""
_STATES = ("queued", "running", "finished", "failed", "cancelled")
_KILLED = ("its worker was killed", "ran out of memory", "stopped by another program")
"""Allowed messages of a failed training: those about a kill."""


@dataclass
class Journal:
    """Threads share it, and hold `lock` while they change it.

    For a request without an answer, the service may have done all or nothing: both are allowed.
    """

    captions: dict[str, str] = field(default_factory=dict)
    """Texts by id."""
    corrections: dict[str, set[str | None]] = field(default_factory=dict)
    """Allowed corrections by the caption's id."""
    datasets: dict[str, bool] = field(default_factory=dict)
    """By id, whether it must exist; one that was about to be deleted may exist."""
    deleted: set[str] = field(default_factory=set)
    """Data sets that must be gone."""
    versions: set[str] = field(default_factory=set)
    trainings: set[str] = field(default_factory=set)
    current: set[str] = field(default_factory=lambda: {"built-in"})
    """Versions that may be current."""
    correcting: set[str] = field(default_factory=set)
    """Captions being corrected by a client: with two at the same time, the last one would be unknown."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def counts(self) -> dict[str, int]:
        corrected = sum(allowed != {None} for allowed in self.corrections.values())
        return {
            "captions": len(self.captions),
            "corrections": corrected,
            "data sets": len(self.datasets) + len(self.deleted),
            "versions": len(self.versions),
            "trainings": len(self.trainings),
        }


def broken_promises(journal: Journal, client: httpx.Client, home: Path, read_ids: Iterable[str]) -> list[str]:
    """Return a sentence for each broken promise. read_ids: of captions to read completely, with their photos."""
    return [
        *_check_captions(journal, client, read_ids),
        *_check_datasets(journal, client),
        *_check_versions(journal, client, home),
        *_check_trainings(journal, client, home),
        *_check_database(home),
    ]


def leftovers(home: Path) -> list[Path]:
    """Return leftovers: incomplete files, and folders that were being created or deleted."""
    return [
        path
        for path in home.rglob("*")
        if (path.name.startswith((".", "tmp")) or path.name.endswith(".part"))
        and path.name not in _EXPECTED_HIDDEN
        and not path.name.startswith(".device-")
        and not any(parent.name.startswith(".") for parent in path.relative_to(home).parents if parent.name)
    ]


def orphans(home: Path, client: httpx.Client) -> list[Path]:
    """Return photos of no caption, and folders of no data set, training or version."""
    paths = [*home.glob("photos/*.jpg"), *(path for path in home.glob("*/*/") if not path.name.startswith("."))]
    known_ids = {entry["id"] for entry in _history(client)}
    for kind, name in (("datasets", "id"), ("trainings", "id"), ("models", "version")):
        known_ids |= {entry[name] for entry in _json(client, f"/api/{kind}")[kind]}
    return [path for path in paths if path.parent.name != "features" and path.stem not in known_ids]


def _history(client: httpx.Client) -> Iterator[dict]:
    number, pages = 1, 1
    while number <= pages:
        page = _json(client, f"/api/captions?per_page=100&page={number}")
        pages = page["pages"]
        yield from page["captions"]
        number += 1


def _json(client: httpx.Client, path: str) -> dict:
    return client.get(path).raise_for_status().json()


def _check_captions(journal: Journal, client: httpx.Client, read_ids: Iterable[str]) -> Iterator[str]:
    history = {entry["id"]: entry for entry in _history(client)}
    for caption_id, text in journal.captions.items():
        if caption_id not in history:
            yield f"caption {caption_id} is lost"
            continue
        correction = (history[caption_id]["correction"] or {}).get("text")
        if history[caption_id]["caption"] != text:
            yield f"caption {caption_id} is {history[caption_id]['caption']!r}, but was answered as {text!r}"
        if correction not in journal.corrections[caption_id]:
            yield f"the correction of {caption_id} is {correction!r}, not one of {journal.corrections[caption_id]}"
    unanswered = history.keys() - journal.captions.keys()  # stored, but the client got no answer
    for caption_id in {*read_ids, *unanswered}:
        caption, photo = client.get(f"/api/captions/{caption_id}"), client.get(f"/api/captions/{caption_id}/image")
        thumbnail = client.get(f"/api/captions/{caption_id}/image?size=40")
        if (caption.status_code, photo.status_code, thumbnail.status_code) != (200, 200, 200):
            statuses = (caption.status_code, photo.status_code, thumbnail.status_code)
            yield f"caption {caption_id}, its photo and a small copy are answered with {statuses}"


def _check_datasets(journal: Journal, client: httpx.Client) -> Iterator[str]:
    existing = {data["id"] for data in _json(client, "/api/datasets")["datasets"]}
    yield from (
        f"data set {dataset_id} is lost"
        for dataset_id, must_exist in journal.datasets.items()
        if must_exist and dataset_id not in existing
    )
    yield from (f"data set {dataset_id} was deleted, but exists again" for dataset_id in journal.deleted & existing)
    for dataset_id in existing:
        document = _json(client, f"/api/datasets/{dataset_id}")
        if not document["usable"] or client.get(f"/api/datasets/{dataset_id}/thumbnails/0.jpg").status_code != 200:
            yield f"data set {dataset_id} is incomplete: {document}"


def _check_versions(journal: Journal, client: httpx.Client, home: Path) -> Iterator[str]:
    from captioner.bundle.bundle import load_bundle
    from captioner.errors import CaptionerError

    models = {model["version"]: model for model in _json(client, "/api/models")["models"]}
    yield from (f"version {version} is lost" for version in journal.versions - models.keys())
    bundles = [*home.glob("models/[!.]*/bundle"), *home.glob("trainings/*/run/bundle")]
    for bundle in bundles:
        try:
            load_bundle(bundle)
        except CaptionerError as error:
            yield f"{bundle} cannot be read: {error}"
    folders = {path.parent.name for path in home.glob("models/[!.]*/bundle")}
    listed = {model["version"] for model in _json(client, "/api/models")["models"]}  # a training may end meanwhile
    if not models.keys() - {"built-in"} <= folders <= listed:
        yield f"versions {set(models)} are listed, but the folders are {folders}"
    promoted = {model for model in models if models[model]["origin"] == "training"}  # may promote themselves
    current = next((version for version, model in models.items() if model["current"]), None)
    if current not in journal.current | promoted:
        yield f"version {current} is current, not one of {journal.current}"


def _check_trainings(journal: Journal, client: httpx.Client, home: Path) -> Iterator[str]:
    from captioner.errors import DataError
    from training.runs.checkpoint import load_checkpoint

    trainings = {training["id"]: training for training in _json(client, "/api/trainings")["trainings"]}
    yield from (f"training {training_id} is lost" for training_id in journal.trainings - trainings.keys())
    models = {model["version"] for model in _json(client, "/api/models")["models"]}
    for training_id, training in trainings.items():
        state, message = training["state"], training["message"] or ""
        if state not in _STATES or (state == "failed" and not any(phrase in message for phrase in _KILLED)):
            yield f"training {training_id} is {state}: {message}"
        if state == "finished" and training["version"] not in models:
            yield f"training {training_id} has finished, but its version {training['version']} is missing"
        epochs = [epoch["epoch"] for epoch in _json(client, f"/api/trainings/{training_id}")["epochs"]]
        if epochs != list(range(len(epochs))):
            yield f"training {training_id} lists the epochs {epochs}"
        checkpoint = home / "trainings" / training_id / "run" / "checkpoint.pt"
        try:
            if checkpoint.exists():
                load_checkpoint(checkpoint)
        except DataError as error:
            yield str(error)


def _check_database(home: Path) -> Iterator[str]:
    with closing(sqlite3.connect(f"file:{home / 'captioner.db'}?mode=ro", uri=True)) as database:
        (result,) = database.execute("PRAGMA integrity_check").fetchone()
    if result != "ok":
        yield f"the database is damaged: {result}"
