"""What a captioner that has learned runs on: exactly as it learned, or as fast as the machine can.

Fast is, on a CPU, OpenVINO for the encoder, which takes half of torch's time for the same network; and, where the
hardware multiplies them, bfloat16 numbers in encoder and decoder, which halve that again. Those have three digits: maps
and probabilities differ in the third from the exact ones, and some captions in a word.
"""

import copy
import sys
import threading
import warnings
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from captioner.allocator import keep_again
from captioner.config import RUNTIMES
from captioner.decoder import Decoder
from captioner.encoders import Encoder
from captioner.errors import ConfigError

if TYPE_CHECKING:
    from openvino import Model


class ExactRuntime:
    """The network as it is, in torch, with 32-bit numbers: the same captions on every machine."""

    name = "torch, float32"

    def __init__(self, encoder: Encoder, decoder: Decoder):
        self._encoder, self.decoder = encoder, decoder

    def encode(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3], on any device -> annotation vectors [B, H, W, D], float32."""
        return self._encoder(pixels.to(self._encoder.mean.device))


class TorchRuntime(ExactRuntime):
    """The network in torch with bfloat16 numbers, for GPUs and where OpenVINO is not installed."""

    name = "torch, bfloat16"

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__(encoder, in_bfloat16(decoder))

    def encode(self, pixels: Tensor) -> Tensor:
        with torch.autocast(self._encoder.mean.device.type, torch.bfloat16):
            return super().encode(pixels).float()


class OpenVinoRuntime:
    """The encoder by OpenVINO on a CPU. Threads may share it."""

    def __init__(self, encoder: Encoder, decoder: Decoder, image_size: int, bfloat16: bool):
        """Takes some two seconds: the network is traced and compiled. image_size: S."""
        self._encoder = OpenVinoEncoder(converted(encoder, image_size), bfloat16)
        self.decoder = in_bfloat16(decoder) if bfloat16 else decoder
        self.name = f"OpenVINO, {'bfloat16' if bfloat16 else 'float32'}"

    def encode(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3] -> annotation vectors [B, H, W, D], float32."""
        return self._encoder(pixels)


class OpenVinoEncoder:
    """A network of OpenVINO's, compiled for this CPU. Threads may share it."""

    def __init__(self, network: "Model", bfloat16: bool):
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._compiled = _openvino().Core().compile_model(network, "CPU", settings)
        keep_again()  # OpenVINO lets freed memory go
        self._own = threading.local()

    def __call__(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3] -> annotation vectors [B, H, W, D], float32."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        (annotations,) = self._own.request.infer({0: pixels.cpu().numpy()}, share_inputs=True).values()
        return torch.from_numpy(annotations)


def converted(encoder: Encoder, image_size: int) -> "Model":
    """The encoder as a network of OpenVINO's, for batches of any size: [B, S, S, 3] -> [B, H, W, D]."""
    square = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    openvino = _openvino()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated; what takes its place is converted four times as slowly
        traced = torch.jit.trace(encoder, square, check_trace=False)
        return openvino.convert_model(traced, input=[-1, *square.shape[1:]])


def _openvino() -> ModuleType:
    """OpenVINO without the package by which it tells its makers, over the network, that it is used."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


Runtime = ExactRuntime | OpenVinoRuntime


def runtime_for(name: str, encoder: Encoder, decoder: Decoder, image_size: int) -> Runtime:
    """What runs the network, on the device where it is: fast or exact; auto is fast.

    image_size: S of the photos. Raises ConfigError for another name.
    """
    if name not in RUNTIMES:
        raise ConfigError(f"there is no runtime {name!r}: take one of {', '.join(RUNTIMES)}")
    device = encoder.mean.device
    if name == "exact":
        return ExactRuntime(encoder, decoder)
    bfloat16 = multiplies_bfloat16(device)
    if device.type == "cpu" and find_spec("openvino") is not None:
        return OpenVinoRuntime(encoder, decoder, image_size, bfloat16)
    return (TorchRuntime if bfloat16 else ExactRuntime)(encoder, decoder)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; without them it is slower than float32."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def in_bfloat16(decoder: Decoder) -> Decoder:
    """A copy of the decoder with its weights in bfloat16; it takes annotations in float32 as the other does."""
    return copy.deepcopy(decoder).to(torch.bfloat16).eval()
