"""A cache on disk of what the frozen part of an encoder makes of each photo, so that epochs never touch a photo.

A cache is a folder of its own for each encoder, weights, preprocessing and mirroring: rows of one shape in
`rows.bin`, read by memory map, and what each row is of in `index.jsonl`. Rows are only ever added: a killed run loses
at most the row that it was writing.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from captioner.config import CaptionerConfig
from captioner.encoders import Encoder
from captioner.errors import ImageError
from captioner.images import fit_image, open_image
from training.progress import Watch, unwatched

ENCODE_BATCH = 16


@dataclass(frozen=True)
class FeatureView:
    """Which features of a photo are kept: after how many of the encoder's stages, and whether of its mirror image."""

    stages: int | None
    """None: all stages, so that the features are the annotations."""
    mirrored: bool = False


class FeatureCache:
    """Rows of features, found by photo."""

    def __init__(self, folder: Path, shape: Sequence[int]):
        """`shape` of one row, in 16-bit floats."""
        self.folder, self.shape = folder, tuple(shape)
        self._row_bytes = int(np.prod(self.shape)) * 2
        folder.mkdir(parents=True, exist_ok=True)
        self._rows_path, self._index_path = folder / "rows.bin", folder / "index.jsonl"
        self._rows: dict[str, int] = {}
        self._places: dict[Path, int] = {}  # rows of photos that were looked up: a run need not find the photo again
        self._map: np.memmap | None = None
        self._lock = FileLock(folder / "lock")
        with self._lock:
            self._read_index()

    def _read_index(self) -> None:
        """Learn which rows there are, and cut off what a killed run left half-written: a row or a line alone."""
        self._rows_path.touch()
        self._index_path.touch()
        whole_rows = self._rows_path.stat().st_size // self._row_bytes
        self._count = self._index_bytes = 0
        with open(self._index_path, "rb") as file:
            for line in file:
                if not line.endswith(b"\n") or self._count == whole_rows:
                    break
                self._rows[json.loads(line)] = self._count
                self._count += 1
                self._index_bytes += len(line)
        with open(self._index_path, "r+b") as file:
            file.truncate(self._index_bytes)
        with open(self._rows_path, "r+b") as file:
            file.truncate(self._count * self._row_bytes)

    def __contains__(self, photo: Path) -> bool:
        """Whether there is a row of the photo as it is now; of one that is gone there is none."""
        self._places.pop(photo, None)
        try:
            row = self._rows.get(photo_key(photo))
        except OSError:
            return False
        if row is not None:
            self._places[photo] = row
        return row is not None

    def append(self, photos: Sequence[Path], rows: np.ndarray) -> None:
        """Keep rows [n, *shape] of n photos. Runs that share a cache add to it in turn."""
        with self._lock:
            if self._index_path.stat().st_size != self._index_bytes:  # another run added rows
                self._read_index()
            with open(self._rows_path, "ab") as file:
                file.write(np.ascontiguousarray(rows, dtype=np.float16).tobytes())
            with open(self._index_path, "ab") as file:
                for photo in photos:
                    key = photo_key(photo)
                    file.write(json.dumps(key).encode() + b"\n")
                    # Counted, not len(): two names of one photo have one key, and a row each.
                    self._rows[key] = self._places[photo] = self._count
                    self._count += 1
                self._index_bytes = file.tell()
        self._map = None

    def read(self, photos: Sequence[Path]) -> np.ndarray:
        """Rows [n, *shape] of n photos that are in the cache."""
        if self._map is None:
            self._map = np.memmap(self._rows_path, np.float16, "r", shape=(self._count, *self.shape))
        return self._map[[self._row_of(photo) for photo in photos]]

    def _row_of(self, photo: Path) -> int:
        row = self._places.get(photo)
        return self._rows[photo_key(photo)] if row is None else row


def photo_key(photo: Path) -> str:
    """A photo's place and state: a file that was changed is another photo."""
    state = photo.stat()
    return f"{photo.resolve()}|{state.st_size}|{state.st_mtime_ns}"


def open_cache(
    root: Path, encoder: Encoder, weights_sha256: str, config: CaptionerConfig, view: FeatureView
) -> FeatureCache:
    """The cache below `root` of this encoder, these weights, this preprocessing and this view."""
    what = {
        "encoder": config.encoder,
        "weights": weights_sha256,
        "image_size": config.image_size,
        "fit": config.fit,
        "stages": view.stages,
        "mirrored": view.mirrored,
    }
    if config.scales > 1 and view.stages is None:  # maps after a stage are the same with all scales
        what["scales"] = config.scales
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
    shape = encode(encoder, np.zeros((1, config.image_size, config.image_size, 3), np.uint8), view).shape[1:]
    cache = FeatureCache(root / f"{config.encoder.replace(':', '-')}-{config.image_size}-{key}", shape)
    (cache.folder / "what.json").write_text(json.dumps(what, indent=2) + "\n")
    return cache


@torch.no_grad()
def encode(encoder: Encoder, pixels: np.ndarray, view: FeatureView) -> np.ndarray:
    """Pixels [B, S, S, 3] -> features of the view: annotations [B, H, W, D], or the map [B, C, H, W] after stages."""
    device = encoder.mean.device
    if view.mirrored:
        pixels = pixels[:, :, ::-1]
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        features = encoder.features(batch, view.stages)
        if view.stages is None:
            features = encoder.annotations(features)
    return features.contiguous().half().cpu().numpy()


def annotations_from(encoder: Encoder, features: Tensor, stages: int | None) -> Tensor:
    """Cached features [B, ...] -> annotations [B, H, W, D], through the stages of the encoder that are not in them."""
    return features if stages is None else encoder.annotations(features, stages)


def fill_cache(
    cache: FeatureCache,
    encoder: Encoder,
    config: CaptionerConfig,
    view: FeatureView,
    photos: Sequence[Path],
    label: str,
    watch: Watch = unwatched,
) -> list[ImageError]:
    """Encode the photos that are not in the cache yet. Returns what could not be read, a sentence each."""
    waiting = [photo for photo in dict.fromkeys(photos) if photo not in cache]
    if not waiting:
        return []
    unreadable: list[ImageError] = []
    with tqdm(total=len(waiting), desc=label, unit="photo") as progress:
        for chunk in _opened(waiting, config, unreadable):
            names, pixels = zip(*chunk, strict=True)
            cache.append(names, encode(encoder, np.stack(pixels), view))
            progress.update(len(chunk))
            watch("encoding", done=progress.n, total=len(waiting))
    return unreadable


def _opened(
    photos: Sequence[Path], config: CaptionerConfig, unreadable: list[ImageError]
) -> Iterator[list[tuple[Path, np.ndarray]]]:
    """Batches of photos and their pixels, read ahead in threads; those that cannot be read are put in `unreadable`."""

    def pixels_of(photo: Path) -> np.ndarray | ImageError:
        try:
            return fit_image(open_image(photo), config.image_size, config.fit)[0]
        except ImageError as error:
            return error

    chunks = [photos[start : start + ENCODE_BATCH] for start in range(0, len(photos), ENCODE_BATCH)]
    with ThreadPoolExecutor(2) as threads:
        ahead = [threads.submit(pixels_of, photo) for photo in chunks[0]]
        for number, chunk in enumerate(chunks):
            results = [future.result() for future in ahead]
            following = chunks[number + 1] if number + 1 < len(chunks) else []
            ahead = [threads.submit(pixels_of, photo) for photo in following]
            unreadable.extend(result for result in results if isinstance(result, ImageError))
            good = [(p, r) for p, r in zip(chunk, results, strict=True) if not isinstance(r, ImageError)]
            if good:
                yield good
