"""Runtimes of a trained captioner: exact, or as fast as the machine allows.

On a CPU, the fast runtime is OpenVINO, which takes a third of torch's time for the same network. Where the hardware
multiplies bfloat16 numbers, they halve that time again. They have three digits: maps and probabilities differ from the
exact ones in the third, and some captions in a word.
"""

import copy
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from captioner.config import choose_runtime
from captioner.model.compiled_network import CompiledNetwork, convert
from captioner.model.decoder import EXPECTED, LIKELIEST, Decoder, ImageFeatures
from captioner.model.decoder_step import Beams, BeamStep, DecoderState, Step
from captioner.model.encoders import Encoder, TwoScales
from captioner.model.kernels.products import computed_by
from captioner.model.label_attention import LabelEntries, Labels
from captioner.model.network_cache import ConvertedNetwork, NetworkCache
from captioner.model.tracing import Preparation, TracedBeamStep, TracedStep, label_operands, read_by_steps

if TYPE_CHECKING:
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
        self.beam_step, self.vocabulary_size = self._decoder.beam_step, self._decoder.vocabulary_size

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
        grid = self.encode.shape[:2]
        is_divisible = encoder.scales == 2 and all(side % 2 == 0 for side in grid)
        divide = partial(encoder.divide, grid=grid) if is_divisible else None
        self.decoder = OpenVinoDecoder(decoder, grid.numel(), bfloat16, networks, divide)
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
            size: CompiledNetwork(network.with_input([size, *pixels]), bfloat16)
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

    def __init__(
        self,
        decoder: Decoder,
        locations: int,
        bfloat16: bool,
        networks: NetworkCache | None = None,
        divide: Callable[[Tensor], TwoScales] | None = None,
    ):
        """networks: cache of the decoder's networks; None: no cache. divide: as of `Preparation`."""
        self._decoder, self._locations = decoder, locations
        self._bfloat16, self._dtype = bfloat16, torch.bfloat16 if bfloat16 else torch.float32
        self._networks = networks or NetworkCache(None, {})
        preparation = Preparation(decoder, divide if decoder.project is not None else None)
        self._preparation = self._compiled("preparation", partial(self._preparation_network, preparation))
        self._beam_steps = {
            location: self._compiled(f"beam_{location}", partial(self._beam_network, location))
            for location in ([LIKELIEST, EXPECTED] if decoder.attention == "hard" else [LIKELIEST])
        }
        self._steps: dict[str, CompiledNetwork] = {}  # compiled when sampling needs them
        self._compiling = threading.Lock()

    @property
    def vocabulary_size(self) -> int:
        return self._decoder.vocabulary_size

    def prepare(
        self, annotations: Tensor, labels: Labels | None = None, padding: Tensor | None = None
    ) -> "OpenVinoFeatures":
        """Compute the features of images that every step reads, as `Decoder.prepare`: annotations [B, L, D].

        padding: must be None, because all photos have the same locations.
        """
        assert padding is None
        annotations = annotations.float()
        operands = label_operands(self._decoder, annotations, labels)
        return self._features(annotations, self._preparation(annotations, *operands))

    def initial_state(self, features: "OpenVinoFeatures", captions: int) -> DecoderState:
        """Return h_0 and c_0, the same for all K captions of an image."""
        return DecoderState(*(initial.expand(-1, captions, -1) for initial in (features.hidden, features.cell)))

    def step(
        self, features: "OpenVinoFeatures", state: DecoderState, tokens: Tensor, location: str = LIKELIEST
    ) -> Step:
        """Decode one word, as `Decoder.step`."""
        location = self._known(location)
        with self._compiling:
            if location not in self._steps:
                self._steps[location] = self._compiled(location, partial(self._step_network, location))
        logits, *outputs = self._steps[location](*self._operands(features, state, tokens))
        hidden, cell, alpha, gate, *label_alpha = outputs
        return Step(logits, DecoderState(hidden, cell), alpha, gate, *(label_alpha or [None]))

    def beam_step(
        self, features: "OpenVinoFeatures", state: DecoderState, beams: Beams, location: str = LIKELIEST
    ) -> BeamStep:
        """Take a step of beam search, as `Decoder.beam_step`."""
        outputs = self._beam_steps[self._known(location)](*self._operands(features, state, *beams))
        totals, indices, hidden, cell, alpha, gate, *label_alpha = outputs
        return BeamStep(totals, indices, DecoderState(hidden, cell), alpha, gate, *(label_alpha or [None]))

    def release_operands(self) -> None:
        for network in (self._preparation, *self._beam_steps.values(), *self._steps.values()):
            network.release_operands()

    def _known(self, location: str) -> str:
        """Return the location to read as a name of a network: only hard attention has two."""
        return location if location in self._beam_steps else LIKELIEST

    def _operands(self, features: "OpenVinoFeatures", state: DecoderState, *others: Tensor) -> list[Tensor]:
        """Return the operands of a network for steps, in order. others: those between the state and the labels."""
        labels = [] if features.labels is None else vars(features.labels).values()
        return [features.annotations, features.keys, state.hidden, state.cell, *others, *labels]

    def _compiled(self, name: str, make: "Callable[[], Model]") -> CompiledNetwork:
        return CompiledNetwork(self._networks.get(name, make), self._bfloat16)

    def _features(self, annotations: Tensor, prepared: Sequence[Tensor]) -> "OpenVinoFeatures":
        """Return the features of photos. prepared: results of `Preparation` for their annotations."""
        read, keys, hidden, cell, *entries = read_by_steps(self._decoder, annotations, prepared)
        stored = [values.to(self._dtype) for values in (read, keys)]
        return OpenVinoFeatures(*stored, hidden, cell, LabelEntries(*entries) if entries else None)

    def _preparation_network(self, preparation: Preparation) -> "Model":
        operands = self._preparation_example()
        return convert(preparation, operands, [[-1, *operand.shape[1:]] for operand in operands])

    def _step_network(self, location: str) -> "Model":
        tokens = torch.zeros(1, 1, dtype=torch.long)
        return self._network_of(TracedStep(self._decoder, location), [tokens], [[-1, -1]])

    def _beam_network(self, location: str) -> "Model":
        ids, totals = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1)
        beams = Beams(ids, ids, totals, totals, ids.unsqueeze(-1), torch.zeros(self.vocabulary_size))
        shapes = Beams(*[[-1, -1]] * 4, [-1, -1, -1], [self.vocabulary_size])
        return self._network_of(TracedBeamStep(self._decoder, location), beams, shapes)

    def _network_of(self, step: nn.Module, others: Sequence[Tensor], other_shapes: Sequence[Sequence[int]]) -> "Model":
        """Convert a step. others: its operands between the state and the labels."""
        decoder, features = self._decoder, self._example()
        state = self.initial_state(features, 1)
        operands = self._operands(features, state, *others)
        shapes = [[-1, *operand.shape[1:]] for operand in operands]
        shapes[2:4] = [[-1, -1, decoder.hidden_dim]] * 2
        shapes[4 : 4 + len(others)] = other_shapes
        with computed_by(decoder.merged_products()):
            return convert(step, operands, shapes)

    @torch.no_grad()
    def _example(self) -> "OpenVinoFeatures":
        """Return features of a photo, computed in torch."""
        operands = self._preparation_example()
        return self._features(operands[0], Preparation(self._decoder)(*operands))

    def _preparation_example(self) -> list[Tensor]:
        """Return operands of `Preparation` for a photo."""
        annotations = torch.zeros(1, self._locations, self._decoder.annotation_dim)
        return [annotations, *label_operands(self._decoder, annotations)]


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


def encoder_network(encoder: nn.Module, image_size: int) -> "Model":
    """Convert an encoder, or stages of one, to an OpenVINO network for batches of any size of [B, S, S, 3] pixels."""
    square = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    return convert(encoder, (square,), ([-1, *square.shape[1:]],))


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
