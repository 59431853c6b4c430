"""Measure the encoder on possible runtimes: torch in several modes, ONNX Runtime and OpenVINO.

All encode the same photos, one at a time and in a batch, and are compared with the exact result. ONNX Runtime needs
`pip install onnxruntime onnx onnxscript`, 8-bit numbers need `pip install nncf`; without them, their rows are left out.
"""

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.examples import EXAMPLES
from benchmarks.tables import table
from benchmarks.timing import Contestant, Spread, time_in_turns
from captioner.captioner import Captioner
from captioner.model.encoders import Encoder
from captioner.model.network_cache import ConvertedNetwork
from captioner.model.runtime import ExactRuntime, OpenVinoEncoder, TorchRuntime, encoder_network

if TYPE_CHECKING:
    from openvino import Model

TITLE = "Encoder runtimes"

EXACT = "torch"
MISSING = "Left out, as not installed: {}."


@dataclass(frozen=True)
class Sizes:
    rounds: int = 15
    photos: int = 16
    """Per batch."""
    image_size: int | None = None
    """Side of the encoder's input square; None: that of the bundle."""
    calibration: int = 7
    """Photos of examples/ used to choose the ranges of 8-bit numbers."""
    compiled: bool = True
    """Whether to include torch.compile, which takes a minute to compile."""


QUICK = Sizes(rounds=2, photos=2, image_size=64, calibration=2, compiled=False)


@dataclass(frozen=True)
class Row:
    runtime: str
    one_ms: Spread
    """For one photo."""
    many_ms: Spread
    """Per photo of a batch."""
    difference: float | None
    """Root mean square difference from the exact annotations, relative to them; None if there is none."""


@dataclass(frozen=True)
class Results:
    rows: tuple[Row, ...]
    photos: int
    """Per batch."""
    missing: tuple[str, ...]


Encode = Callable[[Tensor], Tensor]
"""Pixels [B, S, S, 3] to annotations [B, H, W, D]."""


def measure(captioner: Captioner, quick: bool = False) -> Results:
    sizes = QUICK if quick else Sizes()
    size = sizes.image_size or captioner.bundle.config.image_size
    photos = batch_of(captioner, sizes.photos, size)
    runtimes, missing = runtimes_of(captioner, size, sizes)
    with torch.inference_mode():
        exact = runtimes[EXACT](photos)
        differences = {name: difference(encode(photos), exact) for name, encode in runtimes.items()}
        seconds = {
            count: time_in_turns(
                {name: contestant(encode, photos[:count]) for name, encode in runtimes.items()},
                sizes.rounds,
                captioner.device,
            )
            for count in (1, len(photos))
        }
    rows = tuple(
        Row(name, *(ms_per_photo(times[name], count) for count, times in seconds.items()), differences[name] or None)
        for name in runtimes
    )
    return Results(rows, len(photos), tuple(missing))


def report(results: Results) -> str:
    rows = [
        (row.runtime, row.one_ms, row.many_ms, "none" if row.difference is None else f"{100 * row.difference:.2f} %")
        for row in results.rows
    ]
    headings = ["runtime", "one photo, ms", f"batch of {results.photos}, ms per photo", "difference"]
    notes = [MISSING.format(", ".join(results.missing))] if results.missing else []
    return "\n\n".join((table(headings, rows), *notes))


def contestant(encode: Encode, photos: Tensor) -> Contestant:
    return lambda _: encode(photos)


def ms_per_photo(seconds: list[float], count: int) -> Spread:
    return Spread.of([1000 * elapsed / count for elapsed in seconds])


def difference(annotations: Tensor, exact: Tensor) -> float:
    return float((annotations.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt())


def batch_of(captioner: Captioner, count: int, size: int) -> Tensor:
    """Return the photos of examples/, repeated as needed, [B, S, S, 3]."""
    prepared = [captioner.prepare(path)[0][:size, :size] for path in sorted(EXAMPLES.glob("*.jpg"))[:count]]
    return torch.from_numpy(np.stack([prepared[number % len(prepared)] for number in range(count)]))


def runtimes_of(captioner: Captioner, size: int, sizes: Sizes) -> tuple[dict[str, Encode], list[str]]:
    """Return the available runtimes, the exact one first, and the names of missing packages."""
    encoder, decoder = captioner.model.encoder, captioner.model.decoder
    channels_last = copy.deepcopy(encoder).to(memory_format=torch.channels_last)
    runtimes: dict[str, Encode] = {
        EXACT: ExactRuntime(encoder, decoder).encode,
        "torch, channels last": ExactRuntime(channels_last, decoder).encode,
        "torch, bfloat16": TorchRuntime(channels_last, decoder).encode,
    }
    if sizes.compiled and (captioner.device.type != "cpu" or shutil.which("g++")):
        runtimes["torch.compile"] = torch.compile(channels_last)
    if captioner.device.type != "cpu":
        return runtimes, []
    network, missing = encoder_network(encoder, size), []
    if installed("onnxruntime", "onnx", "onnxscript"):
        runtimes["ONNX Runtime"] = convert_to_onnx(encoder, size)
    else:
        missing.append("ONNX Runtime")
    runtimes["OpenVINO"] = OpenVinoEncoder(ConvertedNetwork(network), bfloat16=False)
    runtimes["OpenVINO, bfloat16"] = OpenVinoEncoder(ConvertedNetwork(network), bfloat16=True)
    if installed("nncf"):
        photos = batch_of(captioner, sizes.calibration, size)
        quantised = ConvertedNetwork(quantise(network, photos))
        runtimes["OpenVINO, 8 bits"] = OpenVinoEncoder(quantised, bfloat16=True)
    else:
        missing.append("nncf")
    return runtimes, missing


def installed(*packages: str) -> bool:
    return all(find_spec(package) is not None for package in packages)


def convert_to_onnx(encoder: Encoder, size: int) -> Encode:
    """Return the encoder in ONNX Runtime, with as many threads as torch."""
    import onnxruntime

    square, batch = torch.zeros(2, size, size, 3, dtype=torch.uint8), {"pixels": {0: torch.export.Dim("batch")}}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with TemporaryDirectory() as folder:
        file = Path(folder, "encoder.onnx")
        torch.onnx.export(encoder, (square,), file, dynamic_shapes=batch, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (name,) = (network_input.name for network_input in session.get_inputs())
    return lambda pixels: torch.from_numpy(session.run(None, {name: pixels.numpy()})[0])


def quantise(network: "Model", photos: Tensor) -> "Model":
    """Return the network with 8-bit numbers, with ranges chosen on photos [B, S, S, 3]."""
    import nncf

    return nncf.quantize(network, nncf.Dataset([photo[None].numpy() for photo in photos]), subset_size=len(photos))
