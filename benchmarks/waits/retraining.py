"""Measure a retraining as people do it, over HTTP: from the upload of a zip until the new captioner is in use.

500 photos with 5 captions each are drawn from a data set, from its test split if that has as many, since the captioner
may know the others. The preset is `quick`, without replay. The real service runs as a process with its own worker.
"""

import csv
import io
import json
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.service import Service, running_service
from benchmarks.tables import table
from captioner.captioner import Captioner
from captioner.errors import DataError
from captioner.text.counting import counted
from training.data.records import ImageRecord, read_records
from training.random_streams import sample

TITLE = "Retraining"

BATCH_SIZE = 8
"""Of the service: its default."""
TOKEN = "a secret of the benchmark"
ENDED = ("finished", "failed", "cancelled")
STAGES = {"fit": "training", "compare": "comparison", "switching": "switching"}
"""Stages of a training by the API's names -> the names here."""
PATIENCE_SECONDS = 3600
INTERVAL = 0.2
"""Seconds between two looks at the state."""


@dataclass(frozen=True)
class Sizes:
    photos: int = 500
    captions: int = 5
    """Per photo."""
    options: tuple[str, ...] = ()
    """Options of the training that differ from the preset: `name=value`, whole numbers."""


QUICK = Sizes(photos=24, captions=2, options=("epochs=1", "least_batches=0", "validation_images=4"))


@dataclass(frozen=True)
class Step:
    name: str
    seconds: float


@dataclass(frozen=True)
class Results:
    photos: int
    captions: int
    """Per photo."""
    steps: tuple[Step, ...]
    """In order; the last is all of them."""
    cider_before: float
    """Of the captioner in use before, on held-out photos of the data."""
    cider_after: float
    epochs: int


def missing(data: Path | None) -> str | None:
    """Return why a retraining cannot be measured."""
    return None if data else "it needs captioned photos: name a data set with --data"


def measure(captioner: Captioner, quick: bool = False, data: Path | None = None) -> Results:
    """Measure the real service with its captioner; `captioner` is not used. Raises DataError for too small data."""
    sizes = QUICK if quick else Sizes()
    archive = packed(choose(read_records(data).records, sizes), sizes.captions)
    with tempfile.TemporaryDirectory() as cache:
        with running_service(BATCH_SIZE, cache, {"CAPTIONER_ADMIN_TOKEN": TOKEN}) as service:
            return retrain(_Client(service), archive, sizes)


def choose(records: Sequence[ImageRecord], sizes: Sizes) -> list[ImageRecord]:
    """Return drawn records with enough captions, always the same. Raises DataError if there are too few."""
    enough = [record for record in records if len(record.captions) >= sizes.captions]
    test = [record for record in enough if record.split == "test"]
    candidates = test if len(test) >= sizes.photos else enough
    if len(candidates) < sizes.photos:
        raise DataError(
            f"--data has {len(candidates)} photos with {sizes.captions} captions or more: name a data set with at least"
            f" {sizes.photos}"
        )
    return sample(candidates, sizes.photos, np.random.default_rng(0))


def packed(records: Sequence[ImageRecord], captions: int) -> bytes:
    """Return a zip of photos and a table of their first `captions` captions."""
    rows, file = io.StringIO(), io.BytesIO()
    writer = csv.writer(rows)
    writer.writerow(["image", "caption"])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, record in enumerate(records):
            name = f"{number:05}{record.path.suffix}"
            archive.write(record.path, f"images/{name}")
            writer.writerows((name, caption) for caption in record.captions[:captions])
        archive.writestr("captions.csv", rows.getvalue())
    return file.getvalue()


def retrain(client: "_Client", archive: bytes, sizes: Sizes) -> Results:
    began = time.perf_counter()
    dataset = client.send("POST", "/api/datasets?name=benchmark", archive, "application/zip")["id"]
    uploaded = time.perf_counter()
    options = {name: int(value) for name, _, value in (option.partition("=") for option in sizes.options)}
    body = {"dataset": dataset, "preset": "quick", "promote_margin": -100, "options": options}
    training = client.send("POST", "/api/trainings", json.dumps(body).encode(), "application/json")["id"]
    finished = client.wait_for(f"/api/trainings/{training}", lambda state: state["state"] in ENDED)
    if finished["state"] != "finished":
        raise RuntimeError(f"the training {finished['state']}: {finished['message']}")
    version = client.wait_for(f"/api/models/{finished['version']}", lambda model: model["current"])
    total = time.perf_counter() - began
    stages = {STAGES.get(name, name): seconds for name, seconds in finished["seconds"].items()}
    parts = {"from the upload to the report": uploaded - began, **stages}
    rest = total - sum(parts.values())
    steps = (*(Step(*part) for part in parts.items()), Step("waiting between the steps", rest), Step("in all", total))
    scores = version["scores"]["data"]
    epochs = sum(epoch["epoch"] > 0 for epoch in finished["epochs"])
    return Results(sizes.photos, sizes.captions, steps, scores["old"]["CIDEr"], scores["new"]["CIDEr"], epochs)


class _Client:
    """Client of the service with its token."""

    def __init__(self, service: Service):
        self._url = f"http://{service.host}:{service.port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy for this machine

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> dict[str, Any]:
        """Return the JSON of the answer. Raises RuntimeError with the service's message if it refuses."""
        headers = {"Authorization": f"Bearer {TOKEN}", **({"Content-Type": kind} if kind else {})}
        request = urllib.request.Request(self._url + path, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=600) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: the service answered {error.code}: {error.read()[:500]!r}") from error

    def wait_for(self, path: str, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the document at a path once the condition holds. Raises RuntimeError after PATIENCE_SECONDS."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition(document := self.send("GET", path)):
            if time.monotonic() > end:
                raise RuntimeError(f"{path} did not become ready within {PATIENCE_SECONDS} s")
            time.sleep(INTERVAL)
        return document


def report(results: Results) -> str:
    rows = [(step.name, step.seconds) for step in results.steps]
    text = (
        f"{results.photos} photos with {results.captions} captions each, preset `quick`,"
        f" {counted(results.epochs, 'epoch')}. CIDEr on held-out photos of them: {results.cider_before:.3f} before,"
        f" {results.cider_after:.3f} after."
    )
    return f"{table(['step', 'seconds'], rows)}\n\n{text}"
