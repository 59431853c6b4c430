"""What a captioner that has learned runs on: exactly as it learned, or as fast as the machine can.

Fast is OpenVINO on a CPU, which takes a third of torch's time for the same network; and, where the hardware multiplies
them, bfloat16 numbers, which halve that again. Those have three digits: maps and probabilities differ in the third from
the exact ones, and some captions in a word.
"""

import copy
import functools
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from captioner.config import choose_runtime
from captioner.model.allocator import restore_allocator
from captioner.model.decoder import EXPECTED, LIKELIEST, Decoder, DecoderState, ImageFeatures, Step
from captioner.model.encoders import Encoder
from captioner.model.label_attention import LabelEntries, Labels

if TYPE_CHECKING:
    import openvino
    from openvino import Model

log = logging.getLogger(__name__)

ENCODED_TOGETHER = (4, 1)
"""Photos, most first: a network of OpenVINO's for so many takes a sixth less time than one for any number."""


class ExactRuntime:
    """The network as it is, in torch, with 32-bit numbers: the same captions on every machine."""

    name = "torch, float32"
    precision = torch.float32
    """Of the matrix products."""

    def __init__(self, encoder: Encoder, decoder: Decoder):
        self._encoder, self.decoder = encoder, decoder

    def encode(self, pixels: Tensor) -> Tensor:
        """8-bit RGB pixels [B, S, S, 3], on any device -> annotation vectors [B, H, W, D], float32."""
        return self._encoder(pixels.to(self._encoder.mean.device))

    def running(self) -> AbstractContextManager:
        """To encode and to search for captions in."""
        return nullcontext()


class TorchRuntime(ExactRuntime):
    """The network in torch with bfloat16 numbers, for GPUs and where OpenVINO is not installed."""

    name = "torch, bfloat16"
    precision = torch.bfloat16

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__(encoder, Bfloat16Decoder(decoder))

    def encode(self, pixels: Tensor) -> Tensor:
        with torch.autocast(self._encoder.mean.device.type, torch.bfloat16):
            return super().encode(pixels).float()


class Bfloat16Decoder:
    """What `decode` asks of a decoder, with a copy of its weights in bfloat16."""

    def __init__(self, decoder: Decoder):
        self._decoder = copy.deepcopy(decoder).to(torch.bfloat16).eval()
        self.initial_state, self.step = self._decoder.initial_state, self._decoder.step

    def prepare(self, annotations: Tensor, labels: Labels | None = None) -> ImageFeatures:
        """As `Decoder.prepare`, of annotations in float32."""
        return self._decoder.prepare(annotations.bfloat16(), labels)


class OpenVinoRuntime:
    """Encoder and decoder by OpenVINO on a CPU. Threads may share it."""

    def __init__(self, encoder: Encoder, decoder: Decoder, image_size: int, bfloat16: bool):
        """Takes some three seconds: the networks are traced and compiled. image_size: S."""
        self._threads = torch.get_num_threads()
        self.encode = OpenVinoEncoder(encoder_network(encoder, image_size), bfloat16)
        self.decoder = OpenVinoDecoder(decoder, self.encode.shape[:2].numel(), bfloat16)
        self.precision = torch.bfloat16 if bfloat16 else torch.float32
        self.name = f"OpenVINO, {'bfloat16' if bfloat16 else 'float32'}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """To encode and to search for captions in: torch then has one thread.

        Its others go on turning for some time after their work, in the way of OpenVINO's; and there is little for them
        to do.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before if before > 1 else self._threads)  # 1, where another thread runs it, too


class OpenVinoEncoder:
    """8-bit RGB pixels [B, S, S, 3] -> annotation vectors [B, H, W, D], float32. Threads may share it."""

    def __init__(self, network: "Model", bfloat16: bool):
        """network: of `encoder_network`."""
        pixels = [side.get_length() for side in list(network.inputs[0].partial_shape)[1:]]
        self._networks: dict[int, OpenVinoNetwork] = {}
        for photos in ENCODED_TOGETHER:
            fixed = network.clone()
            fixed.reshape([photos, *pixels])
            self._networks[photos] = OpenVinoNetwork(fixed, bfloat16)
        (annotations,) = self._networks[1](torch.zeros(1, *pixels, dtype=torch.uint8))
        self.shape = annotations.shape[1:]
        """[H, W, D]"""

    def __call__(self, pixels: Tensor) -> Tensor:
        pixels, start = pixels.cpu(), 0
        annotations = torch.empty(len(pixels), *self.shape)
        while start < len(pixels):
            photos = next(size for size in ENCODED_TOGETHER if size <= len(pixels) - start)
            self._networks[photos].write(annotations[start : start + photos], pixels[start : start + photos])
            start += photos
        return annotations


class OpenVinoDecoder:
    """What `decode` asks of a decoder: the same as `Decoder`, for photos with so many places."""

    def __init__(self, decoder: Decoder, places: int, bfloat16: bool):
        self._decoder, self._places, self._bfloat16 = decoder, places, bfloat16
        self._stored = torch.bfloat16 if bfloat16 else torch.float32
        annotations, shape = self._annotations()
        begin = _network(_Begin(decoder), [annotations.to(self._stored)], [shape])
        self._begin = OpenVinoNetwork(begin, bfloat16)
        self._steps = {LIKELIEST: self._step_network(LIKELIEST)}
        if decoder.attention == "hard":
            self._steps[EXPECTED] = self._step_network(EXPECTED)

    def prepare(self, annotations: Tensor, labels: Labels | None = None) -> "OpenVinoFeatures":
        """As `Decoder.prepare`: annotations [B, L, D] -> what every step reads."""
        attention, entries = self._decoder.labels, None
        if attention is not None:  # little work, of choices that a traced network cannot make as fast
            found = labels or attention.labels_of(annotations.float().mean(dim=1))
            entries = attention.prepare(found, self._decoder.embedding)
        annotations = annotations.to(self._stored)
        keys, hidden, cell, *projected = self._begin(annotations)
        stored = [each.to(self._stored) for each in (*(projected or [annotations]), keys)]
        return OpenVinoFeatures(*stored, hidden, cell, entries)

    def initial_state(self, features: "OpenVinoFeatures", captions: int) -> DecoderState:
        """h_0 and c_0, the same for all K captions of an image."""
        return DecoderState(*(start.expand(-1, captions, -1) for start in (features.hidden, features.cell)))

    def step(
        self, features: "OpenVinoFeatures", state: DecoderState, tokens: Tensor, location: str = LIKELIEST
    ) -> Step:
        """As `Decoder.step`."""
        step = self._steps.get(location, self._steps[LIKELIEST])  # only hard attention has several
        labels = [] if features.labels is None else [features.labels.entries, features.labels.bias]
        found = step(features.annotations, features.keys, state.hidden, state.cell, tokens, *labels)
        logits, hidden, cell, alpha, gate, *label_alpha = found
        return Step(logits, DecoderState(hidden, cell), alpha, gate, *(label_alpha or [None]))

    def _annotations(self) -> tuple[Tensor, list[int]]:
        shape = self._places, self._decoder.annotation_dim
        return torch.zeros(1, *shape), [-1, *shape]

    def _step_network(self, location: str) -> "OpenVinoNetwork":
        annotations, _ = self._annotations()
        keys, hidden, cell, *projected = _Begin(self._decoder)(annotations)
        read = [*(projected or [annotations]), keys]  # at every step
        operands = *(each.to(self._stored) for each in read), hidden, cell, torch.zeros(1, 1, dtype=torch.long)
        shapes = [[-1, *each.shape[1:]] for each in read]
        shapes += [*([-1, -1, self._decoder.hidden_dim] for _ in range(2)), [-1, -1]]
        if self._decoder.labels is not None:
            entries = self._decoder.labels.labels + 1
            operands += torch.zeros(1, entries, self._decoder.embedding.embedding_dim), torch.zeros(1, 1, entries)
            shapes += [[-1, *operand.shape[1:]] for operand in operands[-2:]]
        return OpenVinoNetwork(_network(_Step(self._decoder, location), operands, shapes), self._bfloat16)


@dataclass(frozen=True)
class OpenVinoFeatures:
    """What a step of `OpenVinoDecoder` reads of a batch of images, and where it begins.

    In the precision that the network computes in: every step would else convert what is the largest of its operands.
    """

    annotations: Tensor
    """[B, L, D], or projected [B, L, P]"""
    keys: Tensor
    """[B, L, A] or [B, A, L], as the score takes them; zeros without attention."""
    hidden: Tensor
    """h_0, [B, 1, N]"""
    cell: Tensor
    """c_0, [B, 1, N]"""
    labels: LabelEntries | None
    """None if the decoder does not attend to labels."""

    def rows(self, images: Tensor) -> "OpenVinoFeatures":
        """Of these images of the batch, [B']."""
        *tensors, labels = vars(self).values()
        return OpenVinoFeatures(*(values[images] for values in tensors), labels and labels.rows(images))


class _Begin(nn.Module):
    """annotations -> keys, h_0 and c_0, and projected annotations if there are some; tensors alone can be traced."""

    def __init__(self, decoder: Decoder):
        super().__init__()
        self.decoder = decoder

    def forward(self, annotations: Tensor) -> tuple[Tensor, ...]:
        features = self.decoder.prepare(annotations.float())
        state = self.decoder.initial_state(features, 1)
        keys = features.mean if features.keys is None else features.keys.contiguous()
        found = keys, state.hidden, state.cell
        return found if self.decoder.project is None else (*found, features.annotations)


class _Step(nn.Module):
    """`Decoder.step`, of tensors alone."""

    def __init__(self, decoder: Decoder, location: str):
        super().__init__()
        self.decoder, self.location = decoder, location

    def forward(
        self, annotations: Tensor, keys: Tensor, hidden: Tensor, cell: Tensor, tokens: Tensor, *labels: Tensor
    ) -> tuple:
        annotations, entries = annotations.float(), None
        if labels:
            entries = LabelEntries(labels[0], labels[0].transpose(1, 2), labels[1])
        # The mean is read by the initial state alone.
        features = ImageFeatures(annotations, annotations[:, :1], keys.float(), entries)
        said = self.decoder.step(features, DecoderState(hidden, cell), tokens, self.location)
        found = said.logits, said.state.hidden, said.state.cell, said.alpha, said.gate
        return found if said.label_alpha is None else (*found, said.label_alpha)


class OpenVinoNetwork:
    """A network of OpenVINO's, compiled for this CPU. Threads may share it."""

    def __init__(self, network: "Model", bfloat16: bool):
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._compiled = _core().compile_model(network, "CPU", settings)
        restore_allocator()  # OpenVINO lets freed memory go
        self._own = threading.local()

    def __call__(self, *operands: Tensor) -> list[Tensor]:
        """Operands and results as the network has them; tensors of this machine's memory."""
        request = self._run(self._request(), operands)
        return [torch.from_numpy(output.data).clone() for output in request.output_tensors]

    def write(self, result: Tensor, *operands: Tensor) -> None:
        """The network's one result, float32, into a tensor without gaps: a large one need not be copied."""
        request = self._request()
        request.set_output_tensor(0, _shared(result))
        self._run(request, operands)

    def _request(self) -> "openvino.InferRequest":
        """Of this thread."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        return self._own.request

    @staticmethod
    def _run(request: "openvino.InferRequest", operands: Sequence[Tensor]) -> "openvino.InferRequest":
        held = [operand.contiguous() for operand in operands]  # until it has been read: only its address is given
        for place, operand in enumerate(held):  # `request.infer(operands)` takes a quarter of a decoder's step longer
            request.set_input_tensor(place, _shared(operand))
        request.infer()
        return request


def _shared(operand: Tensor) -> "openvino.Tensor":
    """What OpenVINO reads and writes in the tensor's own memory."""
    openvino = _openvino()
    if operand.dtype != torch.bfloat16:
        return openvino.Tensor(operand.numpy(), shared_memory=True)
    return openvino.Tensor(operand.view(torch.int16).numpy(), openvino.Shape(operand.shape), openvino.Type.bf16)


def encoder_network(encoder: Encoder, image_size: int) -> "Model":
    """The encoder as a network of OpenVINO's, for batches of any size: [B, S, S, 3] -> [B, H, W, D]."""
    square = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    return _network(encoder, (square,), ([-1, *square.shape[1:]],))


def _network(module: nn.Module, operands: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> "Model":
    """A module as a network of OpenVINO's. shapes: of its operands, -1 where any size will do."""
    openvino = _openvino()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated; what takes its place is converted four times as slowly
        traced = torch.jit.trace(module, tuple(operands), check_trace=False)
        return openvino.convert_model(traced, input=list(shapes))


def _openvino() -> ModuleType:
    """OpenVINO without the package by which it tells its makers, over the network, that it is used."""
    sys.modules.setdefault("openvino_telemetry", None)
    import openvino

    return openvino


@functools.cache
def _core() -> "openvino.Core":
    """The one of this process, which is never given up.

    Each gives the process a stack for its signal handlers, and takes it away as it goes: of several, one leaves a stack
    behind that is no more, and the next signal ends the process.
    """
    return _openvino().Core()


Runtime = ExactRuntime | OpenVinoRuntime


def runtime_for(name: str, encoder: Encoder, decoder: Decoder, image_size: int) -> Runtime:
    """Return what runs the network on its device.

    name: as `choose_runtime` knows it, for an unknown number of photos. image_size: S of the photos. A network that
    OpenVINO cannot run is run by torch. Raises ConfigError if there is no such runtime.
    """
    device = encoder.mean.device
    if choose_runtime(name) == "exact":
        return ExactRuntime(encoder, decoder)
    bfloat16 = multiplies_bfloat16(device)
    if device.type == "cpu" and find_spec("openvino") is not None:
        try:
            return OpenVinoRuntime(encoder, decoder, image_size, bfloat16)
        except Exception as error:  # an operation that it does not know, and whatever else its makers thought of
            log.warning("OpenVINO cannot run %s, so torch does: %s", encoder.spec.name, str(error).strip()[-300:])
    return (TorchRuntime if bfloat16 else ExactRuntime)(encoder, decoder)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; without them it is slower than float32."""
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
