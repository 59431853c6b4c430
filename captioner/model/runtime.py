"""Runtimes of a trained captioner: exact, or as fast as the machine allows.

On a CPU, the fast runtime is OpenVINO, which takes a third of torch's time for the same network. Where the hardware
multiplies bfloat16 numbers, they halve that time again. They have three digits: maps and probabilities differ from the
exact ones in the third, and some captions in a word.
"""

import copy
import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from captioner.config import choose_runtime
from captioner.model.allocator import restore_allocator
from captioner.model.decoder import EXPECTED, LIKELIEST, Decoder, DecoderState, ImageFeatures, Step
from captioner.model.encoders import Encoder
from captioner.model.label_attention import LabelEntries, Labels
from captioner.model.network_cache import ConvertedNetwork, NetworkCache
from captioner.model.openvino_core import import_openvino, openvino_core
from captioner.model.tracing import Preparation, TracedStep

if TYPE_CHECKING:
    import openvino
    from openvino import Model

log = logging.getLogger(__name__)

FEW_THREADS = 2
"""Number of threads up to which one photo keeps them busy."""


class ExactRuntime:
    """Network in torch, unchanged, with 32-bit numbers: the same captions on every machine."""

    name = "torch, float32"
    precision = torch.float32
    """Precision of the matrix products."""

    def __init__(self, encoder: Encoder, decoder: Decoder):
        self._encoder, self.decoder = encoder, decoder

    def encode(self, pixels: Tensor) -> Tensor:
        """Encode 8-bit RGB pixels [B, S, S, 3], on any device -> annotation vectors [B, H, W, D], float32."""
        return self._encoder(pixels.to(self._encoder.mean.device))

    def inference(self) -> AbstractContextManager:
        """Return the context in which to encode photos and to decode captions."""
        return nullcontext()


class TorchRuntime(ExactRuntime):
    """Network in torch with bfloat16 numbers, for GPUs and for CPUs without OpenVINO."""

    name = "torch, bfloat16"
    precision = torch.bfloat16

    def __init__(self, encoder: Encoder, decoder: Decoder):
        super().__init__(encoder, Bfloat16Decoder(decoder))

    def encode(self, pixels: Tensor) -> Tensor:
        with torch.autocast(self._encoder.mean.device.type, torch.bfloat16):
            return super().encode(pixels).float()


class Bfloat16Decoder:
    """Decoder for `decode` with a copy of the weights in bfloat16."""

    def __init__(self, decoder: Decoder):
        self._decoder = copy.deepcopy(decoder).to(torch.bfloat16).eval()
        self.initial_state, self.step = self._decoder.initial_state, self._decoder.step

    def prepare(
        self, annotations: Tensor, labels: Labels | None = None, padding: Tensor | None = None
    ) -> ImageFeatures:
        """Compute `Decoder.prepare` for annotations in float32."""
        return self._decoder.prepare(annotations.bfloat16(), labels, padding)


class OpenVinoRuntime:
    """Encoder and decoder in OpenVINO on a CPU. Threads may share it."""

    def __init__(self, encoder: Encoder, decoder: Decoder, image_size: int, bfloat16: bool, cache: Path | None = None):
        """Trace and compile the networks, which takes some three seconds, or one if the cache has them.

        image_size: S. cache: folder from `cache_folder`; None: no cache.
        """
        self._threads = torch.get_num_threads()
        modules = {"encoder": encoder, "decoder": decoder}
        networks = NetworkCache(cache, modules, image_size=image_size, bfloat16=bfloat16)
        network = networks.get("encoder", lambda: encoder_network(encoder, image_size))
        self.encode = OpenVinoEncoder(network, bfloat16)
        self.decoder = OpenVinoDecoder(decoder, self.encode.shape[:2].numel(), bfloat16, networks)
        self.precision = torch.bfloat16 if bfloat16 else torch.float32
        self.name = f"OpenVINO, {'bfloat16' if bfloat16 else 'float32'}"

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Limit torch to one thread while photos are encoded and captions are decoded.

        Torch has little to do here, and its other threads would spin after their work and slow OpenVINO's. Afterwards,
        the networks refer to no tensor of the photos, which are as large as the rest of a batch needs.
        """
        previous = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            self.encode.release_operands()
            self.decoder.release_operands()
            torch.set_num_threads(previous if previous > 1 else self._threads)  # 1 if another thread is in this context


class OpenVinoEncoder:
    """Encoder: 8-bit RGB pixels [B, S, S, 3] -> annotation vectors [B, H, W, D], float32. Threads may share it."""

    def __init__(self, network: ConvertedNetwork, bfloat16: bool):
        """network: from `encoder_network`."""
        pixels = [dimension.get_length() for dimension in list(network.model.inputs[0].partial_shape)[1:]]
        self._networks = {
            size: OpenVinoNetwork(network.with_input([size, *pixels]), bfloat16)
            for size in encoder_batch_sizes(bfloat16, torch.get_num_threads())
        }
        self.shape = torch.Size(self._networks[1].result_shape[1:])
        """[H, W, D]"""

    def __call__(self, pixels: Tensor) -> Tensor:
        pixels, start = pixels.cpu(), 0
        annotations = torch.empty(len(pixels), *self.shape)
        while start < len(pixels):
            end = start + next(size for size in self._networks if size <= len(pixels) - start)
            self._networks[end - start].write(annotations[start:end], pixels[start:end])
            start = end
        return annotations

    def release_operands(self) -> None:
        for network in self._networks.values():
            network.release_operands()


def encoder_batch_sizes(bfloat16: bool, threads: int) -> tuple[int, ...]:
    """Return the numbers of photos for each of which the encoder is compiled, in descending order.

    A network for a fixed number of photos takes a sixth less time than one for any number. A photo alone keeps few
    threads busy: with them, batches would be no faster, and take 70 MB. Matrix units and more threads want batches.
    """
    return (4, 1) if bfloat16 or threads > FEW_THREADS else (1,)


class OpenVinoDecoder:
    """Decoder for `decode` that computes the same as `Decoder`, for a fixed number of locations."""

    def __init__(self, decoder: Decoder, locations: int, bfloat16: bool, networks: NetworkCache | None = None):
        """networks: cache of the decoder's networks; None: no cache."""
        self._decoder, self._locations = decoder, locations
        self._dtype = torch.bfloat16 if bfloat16 else torch.float32
        networks = networks or NetworkCache(None, {})
        self._preparation = OpenVinoNetwork(networks.get("preparation", self._preparation_network), bfloat16)
        self._steps = {
            location: OpenVinoNetwork(networks.get(location, partial(self._step_network, location)), bfloat16)
            for location in ([LIKELIEST, EXPECTED] if decoder.attention == "hard" else [LIKELIEST])
        }

    def prepare(
        self, annotations: Tensor, labels: Labels | None = None, padding: Tensor | None = None
    ) -> "OpenVinoFeatures":
        """Compute the features of images that every step reads, as `Decoder.prepare`: annotations [B, L, D].

        padding: must be None, because all photos have the same locations.
        """
        assert padding is None
        label_attention, entries = self._decoder.labels, None
        if label_attention is not None:  # little work; a traced network would not be faster
            photo_labels = labels or label_attention.labels_of(annotations.float().mean(dim=1))
            entries = label_attention.prepare(photo_labels, self._decoder.embedding)
        annotations = annotations.to(self._dtype)
        keys, hidden, cell, *projected = self._preparation(annotations)
        stored = [value.to(self._dtype) for value in (*(projected or [annotations]), keys)]
        return OpenVinoFeatures(*stored, hidden, cell, entries)

    def initial_state(self, features: "OpenVinoFeatures", captions: int) -> DecoderState:
        """Return h_0 and c_0, the same for all K captions of an image."""
        return DecoderState(*(initial.expand(-1, captions, -1) for initial in (features.hidden, features.cell)))

    def step(
        self, features: "OpenVinoFeatures", state: DecoderState, tokens: Tensor, location: str = LIKELIEST
    ) -> Step:
        """Decode one word, as `Decoder.step`."""
        step = self._steps.get(location, self._steps[LIKELIEST])  # only hard attention has two
        labels = [] if features.labels is None else [features.labels.entries, features.labels.bias]
        outputs = step(features.annotations, features.keys, state.hidden, state.cell, tokens, *labels)
        logits, hidden, cell, alpha, gate, *label_alpha = outputs
        return Step(logits, DecoderState(hidden, cell), alpha, gate, *(label_alpha or [None]))

    def release_operands(self) -> None:
        for network in (self._preparation, *self._steps.values()):
            network.release_operands()

    def _annotations(self) -> tuple[Tensor, list[int]]:
        shape = self._locations, self._decoder.annotation_dim
        return torch.zeros(1, *shape), [-1, *shape]

    def _preparation_network(self) -> "Model":
        annotations, shape = self._annotations()
        return _network(Preparation(self._decoder), [annotations.to(self._dtype)], [shape])

    def _step_network(self, location: str) -> "Model":
        annotations, _ = self._annotations()
        keys, hidden, cell, *projected = Preparation(self._decoder)(annotations)
        features = [*(projected or [annotations]), keys]
        operands = *(value.to(self._dtype) for value in features), hidden, cell, torch.zeros(1, 1, dtype=torch.long)
        shapes = [[-1, *value.shape[1:]] for value in features]
        shapes += [*([-1, -1, self._decoder.hidden_dim] for _ in range(2)), [-1, -1]]
        if self._decoder.labels is not None:
            entries = self._decoder.labels.labels + 1
            operands += torch.zeros(1, entries, self._decoder.embedding.embedding_dim), torch.zeros(1, 1, entries)
            shapes += [[-1, *operand.shape[1:]] for operand in operands[-2:]]
        return _network(TracedStep(self._decoder, location), operands, shapes)


@dataclass(frozen=True)
class OpenVinoFeatures:
    """Features of a batch of images that a step of `OpenVinoDecoder` reads, and its initial state.

    They have the network's precision: otherwise every step would convert its largest operands.
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
        """Select images of the batch, [B']."""
        *tensors, labels = vars(self).values()
        return OpenVinoFeatures(*(values[images] for values in tensors), labels and labels.rows(images))


class OpenVinoNetwork:
    """OpenVINO network compiled for this CPU. Threads may share it."""

    def __init__(self, network: ConvertedNetwork, bfloat16: bool):
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
        }
        self._network = network  # whose weights must outlive the compiled network
        self._compiled = openvino_core().compile_model(network.model, "CPU", settings)
        network.release()
        restore_allocator()  # OpenVINO returns freed memory to the kernel
        self._thread_local = threading.local()

    @property
    def result_shape(self) -> list[int]:
        """Shape of the first result of a network for operands of fixed shapes."""
        return list(self._compiled.outputs[0].shape)

    def __call__(self, *operands: Tensor) -> list[Tensor]:
        """Run the network on CPU tensors and return copies of its results."""
        # A decoder's step would take longer with torch's `clone`.
        return [torch.from_numpy(output.data.copy()) for output in self._run(operands).output_tensors]

    def write(self, result: Tensor, *operands: Tensor) -> None:
        """Write the network's only result into a contiguous float32 tensor, without a copy."""
        self._request().request.set_output_tensor(0, _share_memory(result))
        self._run(operands)

    def release_operands(self) -> None:
        """Refer to no operand of this thread's calls so far; the next call sets all of its operands."""
        if hasattr(self._thread_local, "request"):
            self._thread_local.request.operands.clear()

    def _request(self) -> "_Request":
        """Return this thread's request."""
        if not hasattr(self._thread_local, "request"):
            self._thread_local.request = _Request(self._compiled.create_infer_request())
        return self._thread_local.request

    def _run(self, operands: Sequence[Tensor]) -> "openvino.InferRequest":
        request = self._request()
        for index, operand in enumerate(operands):
            request.set(index, operand)
        # A decoder's step would take a quarter longer with `request.infer(operands)`.
        request.request.infer()
        return request.request


@dataclass(frozen=True)
class _Request:
    """Request of one thread. It is given an operand only if the call before had another, which takes time."""

    request: "openvino.InferRequest"
    operands: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Each operand and its contiguous form, kept alive because the request has only the address."""

    def set(self, index: int, operand: Tensor) -> None:
        known, _ = self.operands.get(index, (None, None))
        if operand is not known:
            self.operands[index] = operand, operand.contiguous()
            self.request.set_input_tensor(index, _share_memory(self.operands[index][1]))


def _share_memory(operand: Tensor) -> "openvino.Tensor":
    """Return an OpenVINO tensor that shares the tensor's memory."""
    openvino = import_openvino()
    if operand.dtype != torch.bfloat16:
        return openvino.Tensor(operand.numpy(), shared_memory=True)
    return openvino.Tensor(operand.view(torch.int16).numpy(), openvino.Shape(operand.shape), openvino.Type.bf16)


def encoder_network(encoder: nn.Module, image_size: int) -> "Model":
    """Convert an encoder, or stages of one, to an OpenVINO network for batches of any size of [B, S, S, 3] pixels."""
    square = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    return _network(encoder, (square,), ([-1, *square.shape[1:]],))


class _FirstStages(nn.Module):
    """The first stages of an encoder: [B, S, S, 3] -> feature map [B, C, H, W]."""

    def __init__(self, encoder: Encoder, stages: int):
        super().__init__()
        self._encoder, self._stages = encoder, stages

    def forward(self, pixels: Tensor) -> Tensor:
        return self._encoder.features(pixels, self._stages)


def fast_encoder(encoder: Encoder, image_size: int, stages: int | None = None) -> OpenVinoEncoder | None:
    """Return the encoder, or its first `stages` stages, in OpenVINO; None if torch has to run it.

    Preparing it takes two seconds. The stages return feature maps [B, C, H, W] instead of annotations.
    """
    device = encoder.mean.device
    if device.type != "cpu" or find_spec("openvino") is None:
        return None
    module = encoder if stages is None else _FirstStages(encoder, stages)
    try:
        network = ConvertedNetwork(encoder_network(module, image_size))
        return OpenVinoEncoder(network, multiplies_bfloat16(device))
    except Exception as error:  # unsupported operations and others
        _warn(encoder, error)
        return None


_converting = threading.Lock()
"""Held by the only thread that converts: tracing and OpenVINO change state of the process, such as the log's level."""


def _network(module: nn.Module, operands: Sequence[Tensor], shapes: Sequence[Sequence[int]]) -> "Model":
    """Convert a module to an OpenVINO network. shapes: shapes of its operands, -1 for any size."""
    openvino = import_openvino()
    with _converting, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, but its replacement converts four times as slowly
        traced = torch.jit.trace(module, tuple(operands), check_trace=False)
        return openvino.convert_model(traced, input=list(shapes))


Runtime = ExactRuntime | OpenVinoRuntime


def runtime_for(name: str, encoder: Encoder, decoder: Decoder, image_size: int, cache: Path | None = None) -> Runtime:
    """Return the runtime of a network on its device.

    name: a name for `choose_runtime`, with an unknown number of photos. image_size: S. Torch runs networks that
    OpenVINO cannot. cache: as of `OpenVinoRuntime`. Raises ConfigError if there is no such runtime.
    """
    device = encoder.mean.device
    if choose_runtime(name) == "exact":
        return ExactRuntime(encoder, decoder)
    bfloat16 = multiplies_bfloat16(device)
    if device.type == "cpu" and find_spec("openvino") is not None:
        try:
            return OpenVinoRuntime(encoder, decoder, image_size, bfloat16, cache)
        except Exception as error:  # unsupported operations and others
            _warn(encoder, error)
    return (TorchRuntime if bfloat16 else ExactRuntime)(encoder, decoder)


def _warn(encoder: Encoder, error: Exception) -> None:
    log.warning("OpenVINO cannot run %s, so torch does: %s", encoder.spec.name, str(error).strip()[-300:])


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices faster than float32 ones.

    AVX-512's instructions for bfloat16 do not count: with them alone, a product takes 1.6 times as long as in float32.
    """
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return any(capabilities.get(name) for name in ("amx_bf16", "bf16", "sve_bf16"))
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
