"""Measure collections: the first caption, the rate, the service's memory, a browser that shows it, and exports.

    python -m benchmarks.photo_collections [--photos FOLDER]

starts the real service as a process, sends it a folder of photos at once, and captions the same folder in bulk as the
command line does, in turns. If there is Chromium or Chrome, it also drops the photos on the page. Service, clients and
browser share the machine, so nothing else should be running.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

import captioner
from benchmarks.dropped_photos import LONG_TASK_MS, Drop, browser_path, drop_photos
from benchmarks.machine import machine
from benchmarks.many_photos import copy_examples
from benchmarks.service import Service, resident_mb, running_service
from benchmarks.tables import table
from captioner.bulk.cli import default_workers
from captioner.bulk.options import BulkOptions
from captioner.bulk.run import BulkEvents, caption_in_bulk
from captioner.captioner import Captioner
from captioner.exports import EXPORT_FORMATS
from captioner.files import write_json
from captioner.images.finding import IMAGE_EXTENSIONS
from captioner.ranks import ALONE
from service.settings import Settings
from service.store.collection_photos import CollectionPhotos
from service.store.collection_records import PhotoResult
from service.store.collections import Collections
from service.store.database import Database

FIRST_PART, PART = 8, 100
"""Photos of the first request and of the others, as the page sends them."""
PART_BYTES = 18_000_000
_POLL_SECONDS = 0.1
_SAMPLE_SECONDS = 0.5
_MANY_BYTES = 10**12
_ROWS = 1000
_SMALL = 320, 240


@dataclass(frozen=True)
class Sent:
    """Photos that were sent to the service at once, and captioned."""

    first_caption_seconds: float
    """From the beginning of the upload until the service has a caption."""
    sent_seconds: float
    """From the beginning of the upload to its end."""
    per_second: float
    """Photos per second, from the beginning of the upload until all are captioned."""
    memory_mb: tuple[float, float, float]
    """Resident memory of the service: before, the most, and at the end."""


@dataclass(frozen=True)
class Export:
    """One export of many captions by HTTP."""

    format: str
    first_byte_seconds: float
    seconds: float
    megabytes: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        paths = (
            photos_of(options.photos, options.count) if options.photos else copy_examples(Path(folder), options.count)
        )
        if not paths:
            print(f"error: {options.photos} holds no photos: name a folder of photos", file=sys.stderr)
            return 2
        figures = measure(paths, options)
    print(report(figures))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.output, figures, indent=1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo_collections", description=__doc__.split("\n")[0])
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="photos to send. Default: copies of examples/.")
    parser.add_argument("--count", type=int, default=300, metavar="N", help="photos sent at once. Default: 300.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="times that they are sent. Default: 3.")
    parser.add_argument(
        "--captions", type=int, default=10_000, metavar="N", help="captions to export. Default: 10,000."
    )
    parser.add_argument("--no-browser", action="store_true", help="leave the browser out")
    parser.add_argument("--output", type=Path, metavar="FILE.json", help="file for the results")
    return parser


def photos_of(folder: Path, count: int) -> list[Path]:
    """Return the first photos in a folder and its sub-folders, each name once."""
    found = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_EXTENSIONS)
    return list({path.name: path for path in found}.values())[:count]


def measure(paths: Sequence[Path], options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything -> figures for `report`."""
    figures: dict[str, Any] = {"machine": machine(), "photos": len(paths), "captions": options.captions}
    model = captioner.load()
    with tempfile.TemporaryDirectory() as cache, running_service(8, cache) as service:
        caption_folder(model, paths[:FIRST_PART])  # warm-up
        send_photos(service, paths[:FIRST_PART])
        figures["sent"], figures["command_line"] = [], []
        for _ in range(options.rounds):
            figures["command_line"].append(caption_folder(model, paths))
            figures["sent"].append(asdict(send_photos(service, paths)))
        browser = None if options.no_browser else browser_path()
        if browser is not None:
            url = f"http://{service.host}:{service.port}"
            figures["dropped"] = [asdict(drop_photos(url, paths, browser)) for _ in range(options.rounds)]
        collection = make_captions(service, paths[0], options.captions)
        figures["exports"] = [asdict(export(service, collection, name)) for name in EXPORT_FORMATS]
    return figures


def caption_folder(model: Captioner, paths: Sequence[Path]) -> float:
    """Caption photos as the command line does -> photos per second after the first ones, so without its start."""
    batches = [(time.perf_counter(), 0)]
    events = BulkEvents(captioned=lambda count: batches.append((time.perf_counter(), count)))
    with tempfile.TemporaryDirectory() as folder:
        bulk = BulkOptions(Path(folder, "captions.jsonl"), workers=default_workers(ALONE))
        caption_in_bulk([str(path) for path in paths], bulk, lambda: (model, model.decoding), events=events)
    if len(batches) > 2:
        del batches[0]
    seconds = batches[-1][0] - batches[0][0]
    return round(sum(count for _, count in batches[1:]) / seconds, 2)


def send_photos(service: Service, paths: Sequence[Path]) -> Sent:
    """Send photos as the page does, and wait until all are captioned."""
    with _client(service) as client, _memory(service) as sizes:
        before = resident_mb(service)
        watch = _Watch(service, len(paths))
        for part in parts_of(paths):
            with contextlib.ExitStack() as files:
                form = [("file", (path.name, files.enter_context(open(path, "rb")))) for path in part]
                url = f"/api/collections/{watch.collection}/photos" if watch.collection else "/api/collections"
                response = client.post(url, files=form)
            if response.status_code != 201:
                raise RuntimeError(f"the service answered {response.status_code}: {response.text[:200]}")
            watch.start(response.json()["id"])
        sent_seconds = time.perf_counter() - watch.started_at
        watch.thread.join()
        if watch.ended_at is None:
            raise RuntimeError("the service did not caption all photos: run `python -m service` to see why")
        return Sent(
            round(watch.first_at - watch.started_at, 2),
            round(sent_seconds, 2),
            round(len(paths) / (watch.ended_at - watch.started_at), 2),
            (before, max([before, *sizes]), resident_mb(service)),
        )


def parts_of(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Group photos into requests."""
    part: list[Path] = []
    size, most = 0, FIRST_PART
    for path in paths:
        file_size = path.stat().st_size
        if part and (len(part) >= most or size + file_size > PART_BYTES):
            yield part
            part, size, most = [], 0, PART
        part.append(path)
        size += file_size
    yield part


class _Watch:
    """Follows a collection in a thread until `count` photos are captioned or have failed."""

    def __init__(self, service: Service, count: int) -> None:
        self.collection: str | None = None
        self.started_at = time.perf_counter()
        self.first_at = self.ended_at = None
        self._service, self._count = service, count
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def start(self, collection: str) -> None:
        """Begin to follow the collection, unless it is followed already."""
        if self.collection is None:
            self.collection = collection
            self.thread.start()

    def _follow(self) -> None:
        with _client(self._service) as client:
            while True:
                document = client.get(f"/api/collections/{self.collection}").raise_for_status().json()
                now = time.perf_counter()
                done = document["captioned"] + document["failed"]
                if done and self.first_at is None:
                    self.first_at = now
                if done >= self._count:
                    self.ended_at = now
                    return
                time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _memory(service: Service) -> Iterator[list[float]]:
    """Yield a list that gets the service's memory in MB, twice a second."""
    sizes: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            sizes.append(resident_mb(service))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield sizes
    finally:
        ended.set()
        thread.join()


def make_captions(service: Service, photo: Path, count: int) -> str:
    """Store a collection of small copies of a photo with captions in the service's database -> its id."""
    content = io.BytesIO()
    with Image.open(photo) as image:
        image.convert("RGB").resize(_SMALL).save(content, "JPEG")
    settings = Settings(home=service.home)
    with contextlib.closing(Database(settings.database, settings.home)) as database:
        collections = Collections(database, settings.collections_folder)
        with collections.intake(_MANY_BYTES) as intake:
            for number in range(count):
                content.seek(0)
                intake.add(f"photos/{number:05}.jpg", content)
            collection = collections.create("Many", intake)
        collections.cancel(collection.id)  # the service shall not caption them
        photos = CollectionPhotos(database, collections)
        for first in range(1, count + 1, _ROWS):
            numbers = range(first, min(first + _ROWS, count + 1))
            photos.record(collection.id, [_result(number) for number in numbers])
    return collection.id


def _result(number: int) -> PhotoResult:
    caption = f"a dog runs through the grass, number {number}"
    return PhotoResult(number, generated=caption, confidence=0.5, width=_SMALL[0], height=_SMALL[1])


def export(service: Service, collection: str, name: str) -> Export:
    """Take the captions of a collection away, and read the answer to its end."""
    with _client(service) as client:
        started_at = time.perf_counter()
        first, size = None, 0
        with client.stream("GET", f"/api/collections/{collection}/export", params={"format": name}) as response:
            response.raise_for_status()
            for chunk in response.iter_raw():
                first = first or time.perf_counter()
                size += len(chunk)
        ended_at = time.perf_counter()
    return Export(name, round(first - started_at, 3), round(ended_at - started_at, 3), round(size / 1e6, 6))


def _client(service: Service) -> httpx.Client:
    return httpx.Client(base_url=f"http://{service.host}:{service.port}", trust_env=False, timeout=600)


def report(figures: dict[str, Any]) -> str:
    """Render Markdown: a row for each round, the memory, and the exports."""
    lines = [figures["machine"], "", f"{figures['photos']} photos sent at once:", ""]
    headings = ["round", "first caption, s", "sent, s", "photos/s", "command line, photos/s", "ratio", "memory, MB"]
    rows = []
    for number, (values, rate) in enumerate(zip(figures["sent"], figures["command_line"], strict=True), 1):
        sent = Sent(**values)
        memory = " / ".join(f"{size:.0f}" for size in sent.memory_mb)
        ratio = round(sent.per_second / rate, 2)
        rows.append([number, sent.first_caption_seconds, sent.sent_seconds, sent.per_second, rate, ratio, memory])
    lines += [table(headings, rows), "", "Memory of the service: before, the most, at the end."]
    if drops := [Drop(**values) for values in figures.get("dropped", [])]:
        lines += ["", f"{figures['photos']} photos dropped on the page, which is scrolled while it fills:", ""]
        headings = ["round", "first caption, s", "all captions, s", f"tasks over {LONG_TASK_MS} ms", "longest task, ms"]
        rows = [[number, *asdict(drop).values()] for number, drop in enumerate(drops, 1)]
        lines.append(table(headings, rows))
    lines += ["", f"{figures['captions']:,} captions exported:", ""]
    rows = [list(asdict(Export(**values)).values()) for values in figures["exports"]]
    lines.append(table(["format", "first byte, s", "all, s", "MB"], rows))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
