"""Cache on disk of each photo's features from the frozen part of an encoder, so that epochs do not decode photos.

Each combination of encoder, weights, preprocessing, mirroring and multiplication precision has its own folder: rows of
one shape in shards, `rows.bin`, `rows-1.bin` and so on, read by memory map. `index.jsonl` has a line for each row: the
photo's key, and its width and height in pixels, which would otherwise need decoding. Rows are only appended: a killed
run loses at most the rows that it was writing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from captioner.config import CaptionerConfig, choose_runtime
from captioner.errors import ImageError
from captioner.files import write_json
from captioner.images.fitting import ImageFrame, fit_image, frame_of
from captioner.images.photo import open_image
from captioner.model.encoders import Encoder, TwoScales
from captioner.model.runtime import fast_encoder, multiplies_bfloat16
from captioner.ranks import ALONE, Ranks
from training.progress import ReportProgress, ignore_progress

ENCODE_BATCH = 16

MOST_LAST_MAPS = 2000
"""Maximum number of photos of a run whose last maps are kept in memory."""

SHARD_BYTES = 2**30
"""Maximum size of a shard with more than one row."""


@dataclass(frozen=True)
class FeatureView:
    """Kind of cached features: after which of the encoder's stages, and whether of the mirror image."""

    stages: int | None
    """Number of stages; None for all, so that the features are the annotations."""
    mirrored: bool = False


class FeatureCache:
    """Rows of features by photo."""

    def __init__(self, folder: Path, shape: Sequence[int]):
        """shape: shape of one row, in 16-bit floats."""
        self.folder, self.shape = folder, tuple(shape)
        self._row_bytes = int(np.prod(self.shape)) * 2
        self._shard_rows = max(1, SHARD_BYTES // self._row_bytes)
        folder.mkdir(parents=True, exist_ok=True)
        self._index_path = folder / "index.jsonl"
        self._rows: dict[str, int] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        self._photo_rows: dict[Path, int] = {}  # rows of photos that were looked up already
        self._count = self._index_bytes = 0
        self._maps: dict[int, np.memmap] = {}
        self._lock = FileLock(folder / "lock")
        self.refresh()

    def refresh(self) -> None:
        """Read the index for rows that other runs have added."""
        with self._lock:
            self._read_index()

    def _read_index(self) -> None:
        """Read the index after the known rows. A row or a line alone, which a killed run left, does not count and is
        overwritten by the next run."""
        self._index_path.touch()
        # A cache from before shards were introduced has all of its rows in the first one.
        self._first_shard_rows = max(self._shard_rows, self._count_rows(0))
        rows = self._count_complete_rows()
        with open(self._index_path, "rb") as file:
            file.seek(self._index_bytes)
            for line in file:
                if not line.endswith(b"\n") or self._count >= rows:
                    break
                entry = json.loads(line)
                key, *size = [entry] if isinstance(entry, str) else entry
                self._register_row(key, size)
                self._index_bytes += len(line)

    def _register_row(self, key: str, size: Sequence[int]) -> None:
        """Register the next row under a photo's key."""
        self._rows[key] = self._count
        if size:
            self._sizes[self._count] = tuple(size)
        self._count += 1

    def _count_complete_rows(self) -> int:
        rows, shard = self._count_rows(0), 0
        while rows == self._first_shard_rows + shard * self._shard_rows:  # all shards so far are full
            shard += 1
            rows += self._count_rows(shard)
        return rows

    def _count_rows(self, shard: int) -> int:
        path = self._shard_path(shard)
        return path.stat().st_size // self._row_bytes if path.exists() else 0

    def _shard_path(self, shard: int) -> Path:
        return self.folder / (f"rows-{shard}.bin" if shard else "rows.bin")

    def _group_by_shard(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Group rows by shard: row numbers [n] -> shard, which of the n it holds, and their positions in it."""
        later_rows = rows - self._first_shard_rows
        shards = np.where(later_rows < 0, 0, 1 + later_rows // self._shard_rows)
        positions = np.where(later_rows < 0, rows, later_rows % self._shard_rows)
        for shard in np.unique(shards):
            indices = np.flatnonzero(shards == shard)
            yield int(shard), indices, positions[indices]

    def __contains__(self, photo: Path) -> bool:
        """Return whether there is a row for the photo in its current state; False if the photo is missing."""
        self._photo_rows.pop(photo, None)
        try:
            row = self._rows.get(photo_key(photo))
        except OSError:
            return False
        if row is not None:
            self._photo_rows[photo] = row
        return row is not None

    def append(self, photos: Sequence[Path], rows: np.ndarray, sizes: Sequence[tuple[int, int]] = ()) -> None:
        """Append rows [n, *shape] of n photos. Runs that share a cache take turns.

        sizes: width and height of each upright photo, in pixels; empty if `frame` is not needed.
        """
        rows = np.ascontiguousarray(rows, dtype=np.float16)
        with self._lock:
            self._read_index()  # another run may have added rows
            for shard, indices, positions in self._group_by_shard(np.arange(self._count, self._count + len(rows))):
                with _open_for_update(self._shard_path(shard)) as file:
                    file.seek(int(positions[0]) * self._row_bytes)
                    file.write(rows[indices].tobytes())
            with _open_for_update(self._index_path) as file:
                file.seek(self._index_bytes)
                file.truncate()
                for photo, size in zip(photos, sizes or [()] * len(photos), strict=True):
                    key = photo_key(photo)
                    file.write(json.dumps([key, *size]).encode() + b"\n")
                    self._photo_rows[photo] = self._count  # two names of one photo have one key but a row each
                    self._register_row(key, size)
                self._index_bytes = file.tell()

    def read(self, photos: Sequence[Path]) -> np.ndarray:
        """Return the rows [n, *shape] of n cached photos."""
        rows = np.empty((len(photos), *self.shape), np.float16)
        for shard, indices, positions in self._group_by_shard(
            np.array([self._find_row(photo) for photo in photos], np.int64)
        ):
            rows[indices] = self._map_shard(shard, int(positions.max()) + 1)[positions]
        return rows

    def frame(self, photo: Path, fit: str) -> ImageFrame:
        """Return the frame of a cached photo, without opening the photo."""
        return frame_of(*self._sizes[self._find_row(photo)], fit)

    def _map_shard(self, shard: int, min_rows: int) -> np.memmap:
        """Map a shard into memory, again only if needed rows were added."""
        if shard not in self._maps or len(self._maps[shard]) < min_rows:
            shape = (self._count_rows(shard), *self.shape)
            self._maps[shard] = np.memmap(self._shard_path(shard), np.float16, "r", shape=shape)
        return self._maps[shard]

    def _find_row(self, photo: Path) -> int:
        row = self._photo_rows.get(photo)
        return self._rows[photo_key(photo)] if row is None else row


def _open_for_update(path: Path) -> BinaryIO:
    return open(path, "r+b" if path.exists() else "xb")


def photo_key(photo: Path) -> str:
    """Return a photo's path and state as its key: a changed file counts as another photo."""
    state = photo.stat()
    return f"{photo.resolve()}|{state.st_size}|{state.st_mtime_ns}"


def open_cache(
    root: Path, encoder: Encoder, weights_sha256: str, config: CaptionerConfig, view: FeatureView
) -> FeatureCache:
    """Open the cache below `root` for an encoder, its weights, preprocessing, view and the device's precision."""
    description = {
        "encoder": config.encoder,
        "weights": weights_sha256,
        "image_size": config.image_size,
        "fit": config.fit,
        "stages": view.stages,
        "mirrored": view.mirrored,
        "precision": precision_on(encoder.mean.device),
    }
    if config.scales > 1 and view.stages is None:  # maps after a stage are the same with all scales
        description["scales"] = config.scales
    key = hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]
    shape = encode(encoder, np.zeros((1, config.image_size, config.image_size, 3), np.uint8), view).shape[1:]
    cache = FeatureCache(root / f"{config.encoder.replace(':', '-')}-{config.image_size}-{key}", shape)
    write_json(cache.folder / "what.json", description, indent=2)
    return cache


def precision_on(device: torch.device) -> str:
    """Return the number format in which `encode` multiplies on a device."""
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


@torch.no_grad()
def encode(encoder: Encoder, pixels: np.ndarray, view: FeatureView) -> np.ndarray:
    """Encode pixels [B, S, S, 3] -> features of the view: annotations [B, H, W, D], or a map [B, C, H, W]."""
    device = encoder.mean.device
    batch = _to_tensor(pixels, view).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device)):
        features = encoder.features(batch, view.stages)
        if view.stages is None:
            features = encoder.annotations(features)
    return features.contiguous().half().cpu().numpy()


def _to_tensor(pixels: np.ndarray, view: FeatureView) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels[:, :, ::-1] if view.mirrored else pixels))


def batch_encoder(
    encoder: Encoder, config: CaptionerConfig, view: FeatureView, photos: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the fastest function that computes `encode` for batches of this number of photos in all."""
    network = None
    if choose_runtime("auto", photos) == "fast":
        network = fast_encoder(encoder, config.image_size, view.stages)
    if network is None:
        return lambda pixels: encode(encoder, pixels, view)
    return lambda pixels: network(_to_tensor(pixels, view)).half().numpy()


def annotations_from(encoder: Encoder, features: Tensor, stages: int | None) -> Tensor:
    """Run the remaining stages of the encoder: cached features [B, ...] -> annotations [B, H, W, D]."""
    return features if stages is None else encoder.annotations(features, stages)


class LastMaps:
    """The last maps of a frozen encoder with two scales, kept in memory so that each photo's is computed once.

    A photo takes 256 kB with the captioner that ships: the maps have 16 bits, bfloat16 if the encoder computes in it,
    because autocast refuses float16 beside it. A run with more than `MOST_LAST_MAPS` photos keeps no map.
    """

    def __init__(self, photos: int | None):
        """photos: number of photos of the run; None to keep no map."""
        self._keeps = photos is not None and photos <= MOST_LAST_MAPS
        self._maps: dict[int, Tensor] = {}

    def two_scales(self, encoder: Encoder, features: Tensor, stages: int, photos: Sequence[int]) -> TwoScales:
        """Compute `Encoder.two_scales` for features [B, ...] of the photos at these positions."""
        if not self._keeps or stages != encoder.spec.finer_stages:
            return encoder.two_scales(features, stages)
        missing = [index for index, photo in enumerate(photos) if photo not in self._maps]
        if missing:
            new_maps = encoder.two_scales(features[missing], stages).last
            if new_maps.dtype == torch.float32:
                new_maps = new_maps.half()
            self._maps |= {photos[index]: last for index, last in zip(missing, new_maps, strict=True)}
        if not photos:  # a rank may have no photo of a batch
            return encoder.two_scales(features, stages)
        last = torch.stack([self._maps[photo] for photo in photos])
        return TwoScales(last.to(features.dtype, memory_format=torch.channels_last), features)


def fill_cache(
    cache: FeatureCache,
    encoder: Encoder,
    config: CaptionerConfig,
    view: FeatureView,
    photos: Sequence[Path],
    label: str,
    on_progress: ReportProgress = ignore_progress,
    ranks: Ranks = ALONE,
) -> list[ImageError]:
    """Encode the photos that are not in the cache yet. Return the errors of unreadable photos.

    Each rank encodes a share of the photos; afterwards all ranks can read all rows.
    """
    missing = ranks.from_leader(lambda: [photo for photo in dict.fromkeys(photos) if photo not in cache])
    if not missing:
        return []
    chunks = [missing[start : start + ENCODE_BATCH] for start in range(0, len(missing), ENCODE_BATCH)]
    chunks += [[]] * (-len(chunks) % ranks.size)  # the same number for each rank
    encode_batch = batch_encoder(encoder, config, view, len(missing))
    unreadable: list[ImageError] = []
    with tqdm(total=len(missing), desc=label, unit="photo", disable=not ranks.leads) as progress:
        for chunk in _read_chunks(chunks[ranks.rank :: ranks.size], config, unreadable):
            if chunk:
                paths, pixels, sizes = zip(*chunk, strict=True)
                cache.append(paths, encode_batch(np.stack(pixels)), sizes)
            progress.update(int(ranks.sum(torch.tensor(len(chunk)))))
            on_progress("encoding", done=progress.n, total=len(missing))
    cache.refresh()
    return [error for errors in ranks.gather(unreadable) for error in errors]


def _read_chunks(
    chunks: Sequence[Sequence[Path]], config: CaptionerConfig, unreadable: list[ImageError]
) -> Iterator[list[tuple[Path, np.ndarray, tuple[int, int]]]]:
    """Yield the photos of each chunk with their pixels and sizes, read ahead in threads.

    Appends the errors of unreadable photos to `unreadable`.
    """

    def read_pixels(photo: Path) -> tuple[np.ndarray, tuple[int, int]] | ImageError:
        try:
            pixels, frame = fit_image(open_image(photo), config.image_size, config.fit)
            return pixels, (frame.width, frame.height)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(read_pixels, photo) for photo in chunks[0]]
        for number, chunk in enumerate(chunks):
            results = [future.result() for future in futures]
            next_chunk = chunks[number + 1] if number + 1 < len(chunks) else []
            futures = [threads.submit(read_pixels, photo) for photo in next_chunk]
            unreadable.extend(result for result in results if isinstance(result, ImageError))
            yield [
                (photo, *result)
                for photo, result in zip(chunk, results, strict=True)
                if not isinstance(result, ImageError)
            ]
