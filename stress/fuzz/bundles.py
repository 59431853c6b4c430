"""Broken or malicious bundles and checkpoints: read completely or refused; nothing in them is run."""

import contextlib
import io
import json
import pickle
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import torch
from PIL import Image

from captioner.bundle.bundle import FILES, Bundle, load_bundle, save_bundle
from captioner.bundle.json_files import CONFIDENCE, LABELS
from captioner.captioner import Caption, Captioner
from captioner.config import DecodingOptions
from captioner.errors import BundleError, DataError, WeightsError
from captioner.model.encoders import encoder_spec
from stress.fuzz.kinds import WrongResult
from stress.fuzz.mutations import json_bytes, mutate_bytes, mutate_json
from stress.tiny_captioner import CONFIG, labelled_bundle, tiny_bundle
from training.runs.checkpoint import load_checkpoint, save_checkpoint

_ENCODERS = ("vgg19", "timm:eva02_enormous_patch14_clip_224", "timm:vit_7b_patch16_dinov3", "timm:resnet18", "timm:x")
_PHOTO = Image.new("RGB", (90, 70), "red")


class PickledCode:
    """Unpickling this calls `_record_run`."""

    runs = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return _record_run, ()


def _record_run() -> None:
    PickledCode.runs += 1


class Bundles:
    """A small bundle, with or without labels and confidence, with changed, missing or foreign files, or pickles."""

    expected: tuple[type[Exception], ...] = (BundleError, WeightsError)

    def __init__(self) -> None:
        torch.set_num_threads(1)
        encoder_spec(CONFIG.encoder)
        self._bundles = [_files_of(bundle) for bundle in (tiny_bundle(), labelled_bundle())]

    def case(self, rng: Random) -> None:
        original = rng.choice(self._bundles)
        files = dict(original)
        names = [*FILES, "config.json", "model.safetensors", "metrics.json", "README.md"]
        if LABELS in files:
            names += [LABELS, CONFIDENCE] * 3
        for _ in range(rng.choice((1, 1, 1, 2))):
            name = rng.choice(names)
            files[name] = self._mutate(name, original, rng)
        if rng.random() < 0.1:
            del files[rng.choice(sorted(files))]
        if rng.random() < 0.1:
            name = rng.choice(("extra.py", "pytorch_model.bin", "model.safetensors.index.json"))
            files[name] = pickle.dumps(PickledCode())
        with _folder(files) as folder:
            bundle = load_bundle(folder)
        check_nothing_ran()
        if not all(bool(tensor.isfinite().all()) for tensor in bundle.model.parameters()):
            raise WrongResult("a weight is not a finite number")
        if rng.random() < 0.3 and bundle.config.image_size <= 256:
            (caption,) = Captioner(bundle, "cpu", "exact").caption([_PHOTO], DecodingOptions(beam_width=2, max_words=3))
            check_caption(caption)

    def _mutate(self, name: str, files: dict[str, bytes], rng: Random) -> bytes:
        data = files[name]
        if rng.random() < 0.05:
            return pickle.dumps(PickledCode())
        if name == "config.json" and rng.random() < 0.4:
            return _with_sizes(json.loads(data), rng)
        if name.endswith(".json"):
            return json_bytes(json.loads(data), rng)
        if name == "model.safetensors" and rng.random() < 0.7:
            return _with_header(data, rng)
        return mutate_bytes(data, tuple(files.values()), rng)


class Checkpoints:
    """The state of a run with changed bytes or foreign content."""

    expected: tuple[type[Exception], ...] = (DataError,)

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self._state = {"progress": {"epoch": 3}, "model": {"a": torch.ones(3, 4)}, "run": {"options": {}}}
        with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
            save_checkpoint(Path(temporary) / "checkpoint.pt", self._state)
            self._data = (Path(temporary) / "checkpoint.pt").read_bytes()

    def case(self, rng: Random) -> None:
        with _folder({"checkpoint.pt": self._mutate(rng)}) as folder:
            state = load_checkpoint(folder / "checkpoint.pt")
        check_nothing_ran()
        if not isinstance(state, dict):
            raise WrongResult(f"a checkpoint was read as {type(state).__name__}")

    def _mutate(self, rng: Random) -> bytes:
        match rng.randrange(6):
            case 0:
                return pickle.dumps(PickledCode(), protocol=rng.randrange(6))
            case 1:
                return _save({"random": PickledCode()}, zipped=rng.random() < 0.5)
            case 2:
                random = rng.choice((None, 1, {}, {"cpu": torch.ones(3)}, {"cpu": torch.ones(0), "cuda": [1]}))
                return _save(rng.choice((random, {"random": random}, [random], torch.ones(2))))
            case 3:
                return _save({"random": mutate_json({"cpu": [1, 2], "cuda": []}, rng)})
            case _:
                return mutate_bytes(self._data, (), rng)


def check_nothing_ran() -> None:
    if PickledCode.runs:
        raise WrongResult("a pickle was run")


def check_caption(caption: Caption) -> None:
    """Raise WrongResult if the text cannot be encoded, or a confidence is not a probability."""
    caption.text.encode()
    if unsound := [value for value in (caption.confidence, *caption.word_confidences) if not _is_sound(value)]:
        raise WrongResult(f"a confidence is {unsound[0]}")


def _is_sound(confidence: float | None) -> bool:
    return confidence is None or 0 <= confidence <= 1


def _files_of(bundle: Bundle) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        save_bundle(bundle, Path(temporary) / "bundle")
        return {path.name: path.read_bytes() for path in (Path(temporary) / "bundle").iterdir()}


def _save(value: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def _with_sizes(config: dict[str, Any], rng: Random) -> bytes:
    """Return a config that declares more than the weights, or something else."""
    section = config[rng.choice(("captioner", "decoding"))]
    numbers = [name for name, value in section.items() if type(value) in (int, float)]
    section[rng.choice(numbers)] = rng.choice((0, 1, 2, 3, 10**3, 10**6, 2**31, 2**40, 2**63, 10**30, 0.5, 1e300))
    if rng.random() < 0.2:
        config["captioner"]["encoder"] = rng.choice(_ENCODERS)
    return json.dumps(config).encode()


def _with_header(data: bytes, rng: Random) -> bytes:
    """Return a safetensors file with a wrong table of tensors, in possibly valid JSON."""
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    new_header = json_bytes(header, rng)
    length = len(new_header) if rng.random() < 0.9 else rng.choice((0, 2**31, 2**63, len(new_header) + 1))
    return struct.pack("<Q", length) + new_header + data[8 + size :]


@contextlib.contextmanager
def _folder(files: dict[str, bytes]) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    try:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        yield folder
    finally:
        shutil.rmtree(folder)
